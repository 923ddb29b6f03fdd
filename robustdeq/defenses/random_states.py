"""Training on random intermediate states."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Task, Wrapper
from robustdeq.equilibrium import CellProblem
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.noise import RowNoise, TrainingNoise
from robustdeq.solvers.base import solve
from robustdeq.surface import Cost, Surface
from robustdeq.surfaces.network import AutogradSurface, counted_problem


@dataclass(frozen=True)
class RandomStates(Wrapper):
    """The training loss reads a random state on the way, not the equilibrium.

        N ~ U{1, ..., horizon};  w_0 = f(z_N);  w_k = (w_{k-1} + f(w_{k-1})) / 2,  k = 1 ... tail;
        logits = head(w_tail)

    z_N is the network's own N-th iterate, a constant; the gradient is that of the tail + 1 steps
    after it. What is deployed stays the base's answer: nothing happens at inference.

    The paper's code draws one N for a whole batch, from Broyden iterates; here each image has its
    own, keyed by the image, so that the draw does not depend on the batch, and the iterates are the
    base's solver's. Its inner maximisation is as random as its loss, since both call one function;
    the two are fields apart here, and the default randomises the loss alone: a weaker attack while
    training would look like a gain in clean accuracy.

    Attributes:
        horizon: T, the last state that may be drawn; 8 is the paper's solver budget.
        tail: damped steps after the first one; 5 in the paper's code.
        in_loss: whether the loss reads the random state.
        in_attack: whether the inner maximisation does, with a fresh draw at every step.
    """

    card: ClassVar[Card] = Card(
        title="Improving Adversarial Robustness of Deep Equilibrium Models with Explicit "
        "Regulations Along the Neural Dynamics",
        citation="Yang, Li, Pang, Liu, ICML 2023",
        equation="random intermediate states, section 3.3",
    )
    horizon: int = 8
    tail: int = 5
    in_loss: bool = True
    in_attack: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.horizon < 1 or self.tail < 0:
            raise SpecError(
                f"random-states: horizon {self.horizon}, tail {self.tail}; expected a state number "
                f"from 1 on, and a number of steps"
            )
        if not (self.in_loss or self.in_attack):
            raise SpecError(
                "random-states: random neither in the loss nor in the attack; drop the wrapper, or "
                "set in_loss or in_attack"
            )

    def build(self, task: Task) -> Classifier:
        return require_equilibrium(self.base.build(task), self.chain)

    def outputs(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        if not self.in_loss:
            return self.base.outputs(target, x, noise)
        model = require_equilibrium(target.classifier, self.chain)
        return self._readout(model, model.problem(x), self._depths(noise))

    def crafting_surface(self, target: DefendedModel, noise: TrainingNoise) -> Surface:
        if not self.in_attack:
            return self.base.crafting_surface(target, noise)
        model = require_equilibrium(target.classifier, self.chain)
        calls, cost = itertools.count(), Cost()

        def logits(x: Tensor, rows: Tensor | None) -> Tensor:
            assert rows is not None, "training names its rows"
            draws = noise.stream.child("attack", next(calls)).at(rows)
            return self._readout(
                model, counted_problem(model.problem(x), cost), self._depths(draws)
            )

        return AutogradSurface(logits, logits, cost)

    def _depths(self, noise: RowNoise) -> Tensor:
        """(B,) the numbers of the states that the rows are read after."""
        return 1 + noise.child("depth").integers(self.horizon)

    def _readout(self, model: EquilibriumNetwork, problem: CellProblem, depths: Tensor) -> Tensor:
        with torch.no_grad():
            states = solve(problem, model.solver, record=range(1, self.horizon + 1)).states
        assert states is not None
        z = problem(states[depths - 1, torch.arange(len(depths), device=depths.device)])
        for _ in range(self.tail):
            z = z.lerp(problem(z), 0.5)
        return model.readout(z)
