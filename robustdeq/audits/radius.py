"""How does accuracy fall with the radius?"""

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import torch

from robustdeq.attacks.apgd import APGD
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.audits.outsiders import POINT, first, mostly, remaining, usable
from robustdeq.evaluation.column import Stage
from robustdeq.objectives.margin import Margin

_MULTIPLES = (Fraction(1), Fraction(2))


@dataclass(frozen=True)
class Radius(Audit):
    """Accuracy under attack at 0, 1 and 2 times the radius, and at one nobody survives.

    An attack that works loses nothing by a larger ball and everything in one that reaches mid-grey:
    there all images meet, and one image has one label (Carlini et al. 2019, "On evaluating
    adversarial robustness"). For Linf that radius is 1/2; in general it is the
    largest distance of an image from mid-grey.

    - `eps-sweep-not-zero`: the accuracy that is left at that radius. Its limit is chance: the share
      of the most frequent class, which is 1/classes on a balanced slice and what a constant answer
      keeps under any attack; raised where the one-sided exact test rules chance out.
    - `eps-not-monotone`: the largest rise from one radius to the next, which no attack that works
      shows, as the larger ball contains the smaller. Raised above 1 point, since a fresh random
      start may well miss an image.

    The attack is Auto-PGD on the margin, which no scale of the logits saturates, untargeted and
    then towards the three nearest classes, through the whole defended path.
    """

    version: ClassVar[int] = 2
    images: int = 100
    steps: int = 20

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        n, eps = len(case.y), case.threat.eps
        radii = [*(eps * multiple for multiple in _MULTIPLES), _to_grey(case)]
        left = [_right(case, ()), *(self._left(case, radius) for radius in radii)]
        sweep = ", ".join(f"{k} at {r}" for k, r in zip(left, [0, *radii], strict=True))
        # Twice the radius may lie beyond grey: only what is sorted has to fall.
        falling = [k for _, k in sorted(zip([Fraction(0), *radii], left, strict=True))]
        rise = max(after - before for before, after in itertools.pairwise(falling)) / n
        chance = int(case.y.bincount().max()) / n
        p = exceeds(left[-1], n, chance)
        detail = f"of {n} images {sweep}"
        raised = left[-1] > chance * n and p <= CHANCE
        return [
            Measure("eps-sweep-not-zero", left[-1] / n, chance, raised, detail, p),
            Measure("eps-not-monotone", max(rise, 0.0), POINT, rise > POINT, detail),
        ]

    def _left(self, case: Case, radius: Fraction) -> int:
        stages = (
            Stage(APGD(steps=self.steps, objective=Margin())),
            Stage(APGD(steps=self.steps, targets=3, objective=Margin())),
        )
        wider = replace(case, threat=replace(case.threat, eps=radius))
        return _right(wider, usable(wider, stages))


def _right(case: Case, stages: tuple[Stage, ...]) -> int:
    """How many images are right after these stages."""
    return int(mostly(remaining(case, stages)).sum())


def _to_grey(case: Case) -> Fraction:
    """The radius, rounded up, within which every image reaches mid-grey."""
    distance = case.threat.distance(case.x, torch.full_like(case.x, 0.5)).max().item()
    return Fraction(math.ceil(distance * 1000), 1000)
