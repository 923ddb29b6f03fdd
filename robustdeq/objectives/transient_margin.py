"""The margin where a solve comes nearest to another answer."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.objectives.base import Objective, View
from robustdeq.objectives.margin import Margin


@dataclass(frozen=True)
class TransientMargin(Objective):
    """The largest margin of the states on the way to the equilibrium, from `first` on.

    An equilibrium can jump: a small step of x, and the solve ends elsewhere. No gradient at the
    answer foretells it, since the equilibrium that it belongs to stays where it is until it is
    gone. The way there does: states pass ever nearer to the other answer before one of them stays.
    Our own objective: we know of no published attack on the transients of an equilibrium model.

    Shapes: path_logits (steps, B, C), y (B,), target (B,) or None -> (B,).

    Attributes:
        first: number of the first state that counts, z_0 being the start; earlier ones say little
            about where a solve goes. A shorter path is read at its last state.

    Raises:
        SpecError: a negative `first`, or the view shows no read-outs of states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "path_logits"})
    first: int = 5

    def __post_init__(self):
        if self.first < 0:
            raise SpecError(f"first {self.first}; expected the number of a state, from 0 on")

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        path = self.shown(view.path_logits, "the answers of all states")
        late = path[min(self.first, len(path) - 1) :]
        steps = len(late)
        aim = None if target is None else target.repeat(steps)
        margins = Margin()(View(late.flatten(0, 1)), y.repeat(steps), aim)
        return margins.unflatten(0, (steps, len(y))).amax(0)
