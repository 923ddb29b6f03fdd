"""The stock deep equilibrium model."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Card, DefendedModel, Defense, Task
from robustdeq.defenses.regularised import equilibrium_penalty
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_network import require_equilibrium
from robustdeq.models.stock import stock_network
from robustdeq.noise import TrainingNoise
from robustdeq.solvers.base import Solver
from robustdeq.solvers.picard import Picard


@dataclass(frozen=True)
class Vanilla(Defense):
    """A single-stream convolutional DEQ with the Jacobian penalty of Bai et al. (2021).

    Cell and penalty are chosen so that the judge's own solver, plain Picard steps, converges on
    clean and adversarial inputs alike: a number measured on unconverged states would be the
    solver's as much as the network's.

    Attributes:
        channels: of the state, (channels, height, width).
        jacobian_penalty: weight of |J^T v|^2 / |v|^2 at the equilibrium, one probe a row.
        solver: the deployed one.
        adjoint: of training; attacks bring their own.
    """

    card: ClassVar[Card] = Card(
        title="Deep Equilibrium Models; Stabilizing Equilibrium Models by Jacobian Regularization",
        citation="Bai, Kolter, Koltun, NeurIPS 2019 and ICML 2021",
        equation="z* = f(z*; x), 2019 equation 3; penalty, 2021 equation 9",
    )
    channels: int = 32
    jacobian_penalty: float = 10.0
    solver: Solver = field(default_factory=Picard)
    adjoint: Adjoint = field(default_factory=Unrolled)

    def build(self, task: Task) -> DEQClassifier:
        return stock_network(task.shape, task.classes, self.channels, self.solver, self.adjoint)

    def penalty(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        return equilibrium_penalty(model, model.problem(x), noise, self.jacobian_penalty)
