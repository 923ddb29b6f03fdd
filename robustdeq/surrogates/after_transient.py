"""The deployed solver's steps, from inputs at which a solve was wrong on its way."""

from dataclasses import dataclass

from torch import Tensor

from robustdeq.attacks.apgd import APGD
from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.models.path_surface import PathSurface
from robustdeq.models.surface import Deployed, Prepare, through_solver_surface
from robustdeq.noise import NoiseStream
from robustdeq.objectives.transient_margin import TransientMargin
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surrogates.base import Elsewhere, StateSurrogate
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

    def surface(self, model: EquilibriumNetwork, judge: Deployed, prepare: Prepare) -> Surface:
        climbed = through_solver_surface(model, judge, prepare)
        steps = min(self.path, model.solver.max_steps)
        path = PathSurface(model, steps, None, prepare, climbed.cost)
        return _AfterTransient(climbed, path, APGD(self.steps, objective=TransientMargin()))


class _AfterTransient(Elsewhere):
    """A surface that begins where the path of a solve has been attacked."""

    def __init__(self, climbed: Surface, path: Surface, attack: APGD):
        super().__init__(climbed, climbed)
        self._path, self._attack = path, attack

    def start(
        self, x: Tensor, y: Tensor, rows: Tensor, threat: ThreatModel, noise: NoiseStream,
        draw: int = 0,
    ) -> Tensor:  # fmt: skip
        stream = noise.child("transient", draw)
        return self._attack.perturb(self._path, Samples(x, y, rows), threat, stream)[0]
