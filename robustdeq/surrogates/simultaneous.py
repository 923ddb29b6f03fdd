"""State and adjoint advanced together, from zero."""

from dataclasses import dataclass

from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare
from robustdeq.surfaces.states import SimultaneousSurface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class Simultaneous(StateSurrogate):
    """The simultaneous adjoint, a reconstruction (see `SimultaneousSurface`).

    It needs the objective inside the solve, so only our own attacks run on it.

    Attributes:
        steps: after which state and adjoint are read.
    """

    steps: int = 8

    def __post_init__(self):
        if self.steps < 1:
            raise SpecError(f"steps {self.steps}; expected at least 1")

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return SimultaneousSurface(model, self.steps, prepare)
