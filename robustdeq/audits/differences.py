"""The judged logits as a function that can be differenced: in float64, its steps frozen or free."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.audits.base import Case
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.precision import ask, in_double
from robustdeq.models.base import Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import replay


@dataclass(frozen=True)
class Judged:
    """The gap z_rival - z_y of the judged logits, on a float64 copy of the network.

    Attributes:
        draws: of a randomised defense: those that its surface had when the gradient was read.
        rival: (n,) the class that each image is to be lost to.
    """

    target: DefendedModel
    draws: NoiseStream
    rows: Int[Tensor, " n"]
    y: Int[Tensor, " n"]
    rival: Int[Tensor, " n"]

    @classmethod
    def of(cls, case: Case, noise: NoiseStream, rival: Int[Tensor, " n"]) -> "Judged":
        """Of a case; `noise` is what its surface is bound with."""
        target = in_double(case.target)
        draws = noise.child("relaxed" if _relaxed(target) else "transform")
        return cls(target, draws, case.rows, case.y, rival)

    def slopes(
        self, x: Float[Tensor, "n *image"], v: Float[Tensor, "directions n *image"], h: float
    ) -> Float[Tensor, "kinds n directions"]:
        """Central differences along v: (free,), or (free, frozen) of a network with a solver.

        Frozen repeats the number of steps that the solver took at x; free lets it stop where it
        will, as the judge does.

        Raises:
            Unchecked: the network cannot be asked in float64.
        """
        points = [(x + h * each, x - h * each) for each in v]
        centre = ask(lambda: self._predict(x))
        kinds = [[ask(partial(self._gaps, each, centre)) for each in pair] for pair in points]
        return torch.stack([(ahead - behind) / (2 * h) for ahead, behind in kinds], dim=2)

    def _gaps(self, x: Tensor, centre: Prediction) -> Float[Tensor, "kinds n"]:
        free = self._predict(x)
        gaps = [self._gap(free.logits)]
        model = self.target.classifier
        if isinstance(model, EquilibriumNetwork) and not _relaxed(self.target):
            same = (free.nfe == centre.nfe) & free.converged & centre.converged
            gaps.append(self._gap(self._frozen(model, x, centre, free.logits, same)))
        return torch.stack(gaps)

    @torch.no_grad()
    def _frozen(
        self,
        model: EquilibriumNetwork,
        x: Tensor,
        centre: Prediction,
        free: Tensor,
        same: Bool[Tensor, " n"],
    ) -> Tensor:
        """The logits after as many steps as at the centre; where both stopped there, `free`."""
        again = (~same).nonzero()[:, 0]
        if not len(again):
            return free
        noise = self.draws.sealed(self.rows[again])
        images = self.target.transformed(x[again], noise)
        # A row's last evaluation measured its residual and moved nothing.
        z = replay(model.problem(images), model.solver, centre.nfe[again] - 1)
        return free.index_copy(0, again, model.readout(z))

    def _predict(self, x: Tensor) -> Prediction:
        return self.target.predict(x, self.rows, self.draws)

    def _gap(self, logits: Tensor) -> Tensor:
        other, own = (logits.gather(1, label[:, None])[:, 0] for label in (self.rival, self.y))
        return other - own


def _relaxed(target: DefendedModel) -> bool:
    """Whether the default surface reads the defense's relaxed form, not the solver's states."""
    answers = target.defense.at_inference.answers
    return answers or not isinstance(target.classifier, EquilibriumNetwork)
