"""The difference-of-logits ratio."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.answers import rival_logit
from robustdeq.errors import SpecError
from robustdeq.objectives.base import Objective, View


@dataclass(frozen=True)
class DLR(Objective):
    """The margin divided by a spread of the logits, so that neither shift nor scale matters.

        untargeted  (max_{j != y} z_j - z_y) / (z_(1) - z_(3))
        targeted    (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)

    with z_(1) >= z_(2) >= ... the sorted logits. Croce and Hein 2020 ("Reliable evaluation of
    adversarial robustness with an ensemble of diverse parameter-free attacks"), eqs. 6 and 7. As in
    their code the denominator is raised by 1e-12, so that tied logits give 0 and not NaN. Where
    classes are ruled out (minus infinity) and too few remain for a spread, it is the margin.

    Shapes: logits (B, C), y (B,), target (B,) or None -> (B,).

    Raises:
        SpecError: fewer than 3 classes, or fewer than 4 with targets: the spread is undefined.
    """

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        logits = view.logits
        needed = 3 if target is None else 4
        if logits.shape[1] < needed:
            form = "untargeted" if target is None else "targeted"
            raise SpecError(
                f"the {form} objective 'dlr' needs at least {needed} classes, the model has "
                f"{logits.shape[1]}; use the objective 'margin'"
            )
        ranked = logits.sort(dim=1, descending=True).values
        floor = ranked[:, 2] if target is None else 0.5 * (ranked[:, 2] + ranked[:, 3])
        gap = rival_logit(logits, y, target) - logits.gather(1, y[:, None])[:, 0]
        spread = torch.where(floor.isfinite(), ranked[:, 0] - floor, 1.0)
        return gap / (spread + 1e-12)
