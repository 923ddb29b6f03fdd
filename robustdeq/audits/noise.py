"""Does plain noise break what an attack does not?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, broken_by, first
from robustdeq.audits.sampling import corner
from robustdeq.evaluation.judge import SELECTION
from robustdeq.noise import NoiseStream

_GLANCE = 16  # the part of the points that is tried first
_TOGETHER = 16  # points of an image that are judged in one batch


@dataclass(frozen=True)
class Noise(Audit):
    """Random points of the ball around images that withstood the white-box union.

    Random search is the weakest attack there is; where it finds what gradients do not, they were
    of no use (Carlini et al. 2019, "On evaluating adversarial robustness"). Half the
    `points` of an image are uniform, half are corners of the ball.

    The value is (b - b0) / n: b counts the images that only noise breaks, b0 those that one more
    seed of the union breaks and noise does not. Raised from 1 point on, where the one-sided exact
    paired test rules chance out. A sixteenth of the points is tried first, and all of them only if
    that broke two images.
    """

    version: ClassVar[int] = 2
    images: int = 100
    points: int = 1000  # a randomised defense gives as many answers, several a point

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        points = max(self.points // SELECTION, 1) if case.judge.randomised else self.points
        broken = broken_by(
            case,
            "noise",
            lambda standing: _left(case, standing, -(-points // _GLANCE)),
            lambda standing: _left(case, standing, points),
        )
        outsider = f"noise ({points} points an image)"
        return [against_rerun(case, "noise-beats-attack", outsider, broken)]


def _left(case: Case, attacked: Bool[Tensor, " n"], points: int) -> Float[Tensor, " n"]:
    """How often each attacked image is right at its most harmful of random points; others 0."""
    noise, found = case.noise.child("random points"), case.x.clone()
    harm = torch.full(case.y.shape, -torch.inf, device=case.y.device)
    for begin in range(0, points, _TOGETHER):
        rows = (attacked & (harm < 0)).nonzero()[:, 0]
        if not len(rows):
            break
        draws = range(begin, min(begin + _TOGETHER, points))
        x = torch.cat([_point(case, rows, noise, draw) for draw in draws])
        each = case.judge.harm(case.samples.select(rows.repeat(len(draws))).moved(x))
        worst, which = each.reshape(len(draws), -1).max(0)
        worse = worst > harm[rows]
        place = which * len(rows) + torch.arange(len(rows), device=rows.device)
        found[rows[worse]], harm[rows[worse]] = x[place[worse]], worst[worse]
    return attacked * case.judge.survival(case.samples.moved(found), attacked & (harm < 0))


def _point(case: Case, rows: Tensor, noise: NoiseStream, draw: int) -> Float[Tensor, "m *image"]:
    """A random point around each image: in turn a uniform one and a corner of the ball."""
    if draw % 2:
        return corner(case.threat, case.x[rows], case.rows[rows], noise, draw)
    return case.threat.random_start(case.x[rows], case.rows[rows], noise, draw)
