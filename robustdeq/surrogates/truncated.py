"""The deployed function with the gradient of a chosen adjoint."""

from dataclasses import dataclass, field

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.defenses.base import DefendedModel
from robustdeq.models.surface import adjoint_surface
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
class Truncated(Surrogate):
    """A cheap gradient, cold: jacobian-free, or a few unrolled steps (a phantom gradient).

    Never the only gradient behind a number, since it over-reports robustness; as one more member of
    the union it goes ways that the exact gradient does not.
    """

    adjoint: Adjoint = field(default_factory=JacobianFree)

    def applies(self, target: DefendedModel) -> str | None:
        return needs_equilibrium(target)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        return adjoint_surface(
            network_behind(target),
            self.adjoint,
            deployed(target, noise),
            straight_through(target, noise),
        )
