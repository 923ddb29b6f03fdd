"""The logit margin."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.answers import rival_logit
from robustdeq.objectives.base import Objective, View


@dataclass(frozen=True)
class Margin(Objective):
    """By how much the best other class, or the target, beats the true class.

        untargeted  max_{j != y} z_j - z_y        targeted  z_t - z_y

    Carlini and Wagner 2017 ("Towards evaluating the robustness of neural networks"), f_6 without
    its clipping. Positive where the label is lost (or the target beats it) and negative where it is
    kept; a tie may be either (`robustdeq.answers`). Defined for any number of classes, never
    saturated, but scales with the logits.

    Shapes: logits (B, C), y (B,), target (B,) or None -> (B,).
    """

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        return rival_logit(view.logits, y, target) - view.logits.gather(1, y[:, None])[:, 0]
