"""Does plain noise break what an attack does not?"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, first, mostly, survivors
from robustdeq.audits.sampling import corner
from robustdeq.evaluation.judge import SELECTION


@dataclass(frozen=True)
class Noise(Audit):
    """Random points of the ball around images that withstood the white-box union.

    Random search is the weakest attack there is; where it finds what gradients do not, they were
    of no use (Carlini et al. 2019, "On evaluating adversarial robustness"). Half the
    `points` of an image are uniform, half are corners of the ball.

    The value is (b - b0) / n: b counts the images that only noise breaks, b0 those that one more
    seed of the union breaks and noise does not. Raised from 1 point on, where the one-sided exact
    paired test rules chance out.
    """

    images: int = 100
    points: int = 1000  # a randomised defence gives as many answers, several a point

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        standing = survivors(case)
        points = max(self.points // SELECTION, 1) if case.judge.randomised else self.points
        found, stood = _search(case, standing, points)
        left = mostly(case.judge.survival(found, case.y, case.rows, stood))
        outsider = f"noise ({points} points an image)"
        return [against_rerun(case, "noise-beats-attack", outsider, standing & ~left)]


def _search(
    case: Case, attacked: Bool[Tensor, " n"], points: int
) -> tuple[Float[Tensor, "n *image"], Bool[Tensor, " n"]]:
    """The most harmful point of each attacked image, and whether it is still right there."""
    noise, found = case.noise.child("random points"), case.x.clone()
    harm = torch.full(case.y.shape, -torch.inf, device=case.y.device)
    for draw in range(points):
        rows = (attacked & (harm < 0)).nonzero()[:, 0]
        if not len(rows):
            break
        keys = case.rows[rows]
        if draw % 2:
            x = corner(case.threat, case.x[rows], keys, noise, draw)
        else:
            x = case.threat.random_start(case.x[rows], keys, noise, draw)
        each = case.judge.harm(x, case.y[rows], keys)
        worse = each > harm[rows]
        found[rows[worse]], harm[rows[worse]] = x[worse], each[worse]
    return found, harm < 0
