"""The deployed solver's steps, from inputs at which a solve was wrong on its way."""

from dataclasses import dataclass, replace

from torch import Tensor

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.objectives.transient_margin import TransientMargin
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare, through_solver_surface
from robustdeq.surfaces.path import PathSurface
from robustdeq.surrogates.base import Sources, StateSurrogate, network_behind, straight_through
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class AfterTransient(StateSurrogate):
    """`through-solver`, where a search begins at an input that is misread on the way to z*.

    Where a network has several equilibria, its answer jumps, and the margin at the answer climbs
    towards the jump only by accident: searches by labels alone then find what gradients do not.
    So Auto-PGD on `transient-margin` first looks for an input whose solve passes as near to another
    answer as it can; from there the margin of the answer has a short way to go. Every start is
    looked for anew, since each leads to another jump.

    Attributes:
        steps: of the search for a start.
        path: states of the solve that this search reads; fewer where the deployed solver takes
            fewer steps.
    """

    steps: int = 20
    path: int = 30

    def __post_init__(self):
        if self.steps < 1 or self.path < 1:
            raise SpecError(f"steps {self.steps}, path {self.path}; expected at least 1 each")

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        approach, model = super().bind(target, noise), network_behind(target)
        steps, prepare = min(self.path, model.solver.max_steps), straight_through(target, noise)
        path = Approach(PathSurface(model, steps, prepare, approach.surface.cost))
        attack = APGD(self.steps, objective=TransientMargin())

        def start(samples: Samples, threat: ThreatModel, noise: NoiseStream, draw: int) -> Tensor:
            return attack.perturb(path, samples, threat, noise.child("transient", draw))[0]

        return replace(approach, start=start)

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return through_solver_surface(model, prepare)
