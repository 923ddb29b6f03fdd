"""The average of the first states."""

from dataclasses import dataclass

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.models.state_surfaces import state_average_surface
from robustdeq.noise import NoiseStream
from robustdeq.surface import Surface
from robustdeq.surrogates.base import (
    Sources,
    Surrogate,
    deployed,
    needs_state,
    network_behind,
    straight_through,
)


@dataclass(frozen=True)
class StateAverage(Surrogate):
    """The head of the mean of z_1 ... z_n and z*, each with the gradient of one step of f.

    The nine feature states of the ensemble defence in Yang, Pang and Liu (2022, "A Closer Look at
    the Adversarial Robustness of Deep Equilibrium Models"), with equal weights; their code sums the
    gradients with weights that fall from 8 to 1.

    Attributes:
        states: n; a row that stops earlier repeats its answer.
    """

    states: int = 8

    def __post_init__(self):
        if self.states < 1:
            raise SpecError(f"states {self.states}; expected at least 1")

    def applies(self, target: DefendedModel) -> str | None:
        return needs_state(target, self.states)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        return state_average_surface(
            network_behind(target),
            self.states,
            deployed(target, noise),
            straight_through(target, noise),
        )
