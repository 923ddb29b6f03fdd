"""The average of the first states."""

from dataclasses import dataclass

from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare
from robustdeq.surfaces.states import state_average_surface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class StateAverage(StateSurrogate):
    """The head of the mean of z_1 ... z_n and z*, each with the gradient of one step of f.

    The nine feature states of the ensemble defense in Yang, Pang and Liu (2022, "A Closer Look at
    the Adversarial Robustness of Deep Equilibrium Models"), with equal weights; their code sums the
    gradients with weights that fall from 8 to 1.

    Attributes:
        states: n; a row that stops earlier repeats its answer.
    """

    states: int = 8

    def __post_init__(self):
        if self.states < 1:
            raise SpecError(f"states {self.states}; expected at least 1")

    @property
    def deepest(self) -> int:
        return self.states

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return state_average_surface(model, self.states, prepare)
