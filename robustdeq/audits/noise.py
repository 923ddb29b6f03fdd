"""Does plain noise break what an attack does not?"""

from dataclasses import dataclass

import torch

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, first, survivors
from robustdeq.audits.sampling import corner
from robustdeq.evaluation.judge import margin


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
    points: int = 1000

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        standing = survivors(case)
        left, noise = standing.clone(), case.noise.child("random points")
        for draw in range(self.points):
            rows = left.nonzero()[:, 0]
            if not len(rows):
                break
            keys = case.rows[rows]
            if draw % 2:
                x = corner(case.threat, case.x[rows], keys, noise, draw)
            else:
                x = case.threat.random_start(case.x[rows], keys, noise, draw)
            logits = case.judge.repeat(x, keys)
            finite = torch.isfinite(logits).all(1)
            left[rows] = (margin(logits, case.y[rows]) > 0) & finite
        outsider = f"noise ({self.points} points an image)"
        return [against_rerun(case, "noise-beats-attack", outsider, standing & ~left)]
