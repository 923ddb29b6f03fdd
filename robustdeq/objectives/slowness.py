"""How slowly a solve converges."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.objectives.base import Objective, View


@dataclass(frozen=True)
class Slowness(Objective):
    """The mean of log r_t over the second half of a solve's residuals, in nats.

    The number of steps to a tolerance has no derivative; it is where the curve t -> log r_t crosses
    a level, so lifting the curve delays the crossing. The first half is left out: its residuals say
    how far the start was, not how fast the solve is. Our own objective: we know of no published
    attack on the cost of an equilibrium model.

    Shapes: residuals (steps + 1, B) -> (B,). The label is not read.

    Raises:
        SpecError: the view shows no residuals.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "residuals"})

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        residuals = self.shown(view.residuals, "residuals")
        late = residuals[len(residuals) // 2 :]
        tiny = torch.finfo(late.dtype).tiny
        return late.clamp_min(tiny).log().mean(0)
