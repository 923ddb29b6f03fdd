"""The mean of the states on the way in the place of the equilibrium."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.defenses.base import Card, DefendedModel, Sign, Task, Wrapper
from robustdeq.defenses.inference import ANSWERS, UPDATES
from robustdeq.defenses.readouts import network_with_states, refuse_own_inference, transformed
from robustdeq.equilibrium import CellProblem, Equilibrium
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier, Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.noise import RowNoise


@dataclass(frozen=True)
class StateEnsemble(Wrapper):
    """logits = head((z_1 + ... + z_n + z*) / (n + 1)): features are averaged, then read once.

    The authors' code averages eight iterates and the final state. Its attack averages logits
    instead and drops some gradients; `relaxed` here is the judged function, differentiated through
    all its steps.

    Attributes:
        states: n, how many iterates join the answer's state; 8 in the paper's code.
    """

    stage: ClassVar = "inference"
    inference: ClassVar = ANSWERS | UPDATES
    card: ClassVar[Card] = Card(
        title="A Closer Look at the Adversarial Robustness of Deep Equilibrium Models",
        citation="Yang, Pang, Liu, NeurIPS 2022",
        equation="the ensemble of intermediate states",
    )
    states: int = 8

    def __post_init__(self):
        super().__post_init__()
        if self.states < 1:
            raise SpecError(f"state-ensemble: {self.states} states; expected at least 1")
        refuse_own_inference(self)

    def build(self, task: Task) -> Classifier:
        return network_with_states(self, task, self.states)

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        model = require_equilibrium(target.classifier, self.chain)
        with torch.no_grad():
            answer, mean = self._answer(model, model.problem(transformed(target, x, noise)))
            return Prediction(model.readout(mean), answer.nfe, answer.residual, answer.converged)

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        problem = model.problem(transformed(target, x, noise))
        answer, mean = self._answer(model, problem)
        if not torch.is_grad_enabled():
            return model.readout(mean)
        total = answer.z
        z, memory = problem.z0, {}
        for number in range(self.states):
            following = model.solver.step(number, z, problem(z), memory)
            # A row that has stopped repeats its answer, as `solve` records it.
            stopped = answer.converged & (answer.returned_at <= number)
            z = torch.where(stopped[:, None], z, following)
            total = total + z
        return model.readout(total / (self.states + 1))

    def _answer(
        self, model: EquilibriumNetwork, problem: CellProblem
    ) -> tuple[Equilibrium, Tensor]:
        """The equilibrium, where gradients are enabled in its graph, and the mean of the states."""
        answer = ThroughSolver().solve(problem, model.solver, range(1, self.states + 1))
        assert answer.states is not None
        return answer, (answer.states.sum(0) + answer.z) / (self.states + 1)

    def unrolled(
        self, target: DefendedModel, x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> Tensor:
        return self.relaxed(target, x, noise)  # no input is updated: this is the whole path
