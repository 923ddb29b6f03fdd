"""The deployed solver's path, step by step."""

from dataclasses import dataclass

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.models.path_surface import PathSurface
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
class SolverPath(Surrogate):
    """All states and residuals of the first steps, for objectives that read them.

    Attributes:
        steps: of the deployed update rule, taken whether or not a row has converged.
    """

    steps: int = 20

    def __post_init__(self):
        if self.steps < 1:
            raise SpecError(f"steps {self.steps}; expected at least 1")

    def applies(self, target: DefendedModel) -> str | None:
        return needs_state(target, self.steps)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        return PathSurface(
            network_behind(target),
            self.steps,
            deployed(target, noise),
            straight_through(target, noise),
        )
