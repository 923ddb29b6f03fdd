"""Can float32 still tell one loss from another?"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from robustdeq.answers import spread
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.audits.outsiders import first
from robustdeq.errors import MissingGradient
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surrogates.defended import Defended

_LIMIT = 0.01  # the share of rows that may be lost to an attack: a point, what a board resolves
_SMALL, _LARGE = 1e-3, 1e3


@dataclass(frozen=True)
class LogitScale(Audit):
    """The share of correctly classified images whose cross entropy saturates in float32.

    Scaling logits up or down leaves every label and hides the gradient of the usual loss (Carlini
    and Wagner 2017, "Towards evaluating the robustness of neural networks", on defensive
    distillation). A row counts if its input gradient is exactly 0, or its logits spread, from
    smallest to largest, over less than 1e-3 or more than 1e3:

    - float32 resolves a loss near log(classes) to about 2e-7, so below a spread of 1e-3 a step that
      changes the logits by a hundredth of it changes the loss by some forty roundings or fewer;
    - exp underflows at -104, so above 1e3 a margin of a tenth of the spread is enough for the
      softmax to be one class and nothing else.

    Trained networks spread over 2 to 60, far from both. A loss of exactly 0 alone is not counted,
    as float32 rounds it so from a margin of 17 on, where the gradient is still there; the detail
    says how many there are. Raised above 1 % of rows, where chance is ruled out.
    """

    images: int = 100

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        right = case.judge(case.samples).right
        n = int(right.sum())
        if not n:
            return []
        samples = case.samples.select(right)
        surface = Defended().bind(case.target, case.noise).surface
        reading = surface.value(samples, CrossEntropy())
        apart = spread(reading.logits)
        flat = _flat(surface, samples)
        scaled = (apart < _SMALL) | (apart > _LARGE)
        count = int((flat | scaled).sum())
        p = exceeds(count, n, _LIMIT)
        detail = (
            f"{count} of {n} images ({int(flat.sum())} without a gradient, {int(scaled.sum())} out "
            f"of scale), logits spread over {apart.min():.3g} to {apart.max():.3g}, "
            f"{int((reading.value == 0).sum())} losses exactly 0"
        )
        raised = count > _LIMIT * n and p <= CHANCE
        return [Measure("logit-scale", count / n, _LIMIT, raised, detail, p)]


def _flat(surface: Surface, samples: Samples) -> Bool[Tensor, " n"]:
    """Where the gradient of the cross entropy is 0; nowhere, if there is none at all.

    A missing gradient is no matter of scale, and has a flag of its own.
    """
    try:
        gradient = surface.value_and_grad(samples, CrossEntropy()).gradient
    except MissingGradient:
        return torch.zeros_like(samples.labels, dtype=torch.bool)
    assert gradient is not None
    return (gradient == 0).flatten(1).all(1)
