"""The deployed function with the gradient of a chosen adjoint."""

from dataclasses import dataclass, field

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare, adjoint_surface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class Truncated(StateSurrogate):
    """A cheap gradient, cold: jacobian-free, or a few unrolled steps (a phantom gradient).

    Never the only gradient behind a number, since it over-reports robustness; as one more member of
    the union it goes ways that the exact gradient does not.
    """

    adjoint: Adjoint = field(default_factory=JacobianFree)

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return adjoint_surface(model, self.adjoint, prepare)
