"""The deployed solver's path, step by step."""

from dataclasses import dataclass

from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare
from robustdeq.surfaces.path import PathSurface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class SolverPath(StateSurrogate):
    """All states and residuals of the first steps, for objectives that read them.

    Attributes:
        steps: of the deployed update rule, taken whether or not a row has converged.
    """

    steps: int = 20

    def __post_init__(self):
        if self.steps < 1:
            raise SpecError(f"steps {self.steps}; expected at least 1")

    @property
    def deepest(self) -> int:
        return self.steps

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return PathSurface(model, self.steps, prepare)
