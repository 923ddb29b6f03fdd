"""The cell of a DEQ as a weight-tied network: a fixed number of applications."""

from dataclasses import dataclass, field
from typing import ClassVar

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.defenses.base import Card, Defense, Task
from robustdeq.errors import SpecError
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.stock import stock_network
from robustdeq.solvers.fixed_depth import FixedDepth


@dataclass(frozen=True)
class WeightTied(Defense):
    """z_{l+1} = f(z_l; x) from z_0 = 0, L times with one set of weights, and logits = head(z_L).

    The control of `vanilla`: its injection, cell and head, hence its parameters, without the claim
    of an equilibrium and without a penalty. Depth is part of the model, and the gradient is plain
    backpropagation through all L applications. `adjoint` takes a truncated or an implicit one in
    its place, for the comparison at equal L; whichever trains, attacks differentiate the steps.

    Crafting goes through all L applications as well, at each of its steps, which makes adversarial
    training expensive (`results/reports/times.md`).

    The paper claims that such networks beat DEQs in accuracy and cost; it reports nothing on
    adversarial robustness. `results/reports/capacity.md` compares the gradients at equal L. L is
    ours: about the Picard steps that `vanilla` takes.

    Attributes:
        channels: of the state, (channels, height, width).
        depth: L.
        adjoint: of training.
    """

    card: ClassVar[Card] = Card(
        title="Revisiting Implicit Models: Sparsity Trade-offs Capability in Weight-tied Model for "
        "Vision Tasks",
        citation="Song, Majumder, Lin, ICML 2023",
        equation="the weight-tied model",
    )
    channels: int = 32
    depth: int = 16
    adjoint: Adjoint = field(default_factory=ThroughSolver)

    def __post_init__(self):
        if self.channels < 1 or self.depth < 1:
            raise SpecError(
                f"weight-tied: channels {self.channels}, depth {self.depth}; expected at least 1"
            )

    def build(self, task: Task) -> DEQClassifier:
        solver = FixedDepth(max_steps=self.depth)
        return stock_network(task.shape, task.classes, self.channels, solver, self.adjoint)
