"""The reference gradient: through the deployed solver's own steps."""

from dataclasses import dataclass

from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare, through_solver_surface
from robustdeq.surfaces.states import replayed_surface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class ThroughSolverView(StateSurrogate):
    """Full backpropagation through the deployed T steps, cold.

    Right whether or not a row converges; what it breaks and `defended` does not is a warning about
    the implicit gradient. Where inference has a path of its own, the gradient is the network's and
    the deployed answer confirms.

    Attributes:
        state: read the solver's iterate of this number instead of its answer: the exact gradient of
            an early or intermediate read-out.
    """

    state: int | None = None

    def __post_init__(self):
        if self.state is not None and self.state < 1:
            raise SpecError(f"state {self.state}; expected a step number from 1 on")

    @property
    def deepest(self) -> int:
        return self.state or 0

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        if self.state is None:
            return through_solver_surface(model, prepare)
        return replayed_surface(model, self.state, prepare)
