"""State and adjoint advanced together, from zero."""

from dataclasses import dataclass

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.models.state_surfaces import SimultaneousSurface
from robustdeq.noise import NoiseStream
from robustdeq.surface import Surface
from robustdeq.surrogates.base import (
    Sources,
    Surrogate,
    deployed,
    needs_equilibrium,
    network_behind,
    straight_through,
)


@dataclass(frozen=True)
class Simultaneous(Surrogate):
    """The simultaneous adjoint, a reconstruction (see `SimultaneousSurface`).

    It needs the objective inside the solve, so only our own attacks run on it.

    Attributes:
        steps: after which state and adjoint are read.
    """

    steps: int = 8

    def __post_init__(self):
        if self.steps < 1:
            raise SpecError(f"steps {self.steps}; expected at least 1")

    def applies(self, target: DefendedModel) -> str | None:
        return needs_equilibrium(target)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        return SimultaneousSurface(
            network_behind(target),
            self.steps,
            deployed(target, noise),
            straight_through(target, noise),
        )
