"""An early state in the place of the equilibrium."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustdeq.answers import labels
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import Batch, Card, DefendedModel, Sign, Task, Wrapper
from robustdeq.defenses.inference import ANSWERS, UPDATES
from robustdeq.defenses.readouts import network_with_states, refuse_own_inference, transformed
from robustdeq.equilibrium import residual
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier, Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.noise import RowNoise, TrainingNoise
from robustdeq.samples import Samples
from robustdeq.surfaces.states import replayed_surface

_CHOICE = PGD(steps=10)  # against which a state is chosen; the paper's has ten steps, too


@dataclass(frozen=True)
class EarlyState(Wrapper):
    """The answer is read from one state on the way: logits = head(z_n).

    n is chosen once, on held-out training images, as the state whose read-out keeps the highest
    accuracy under PGD-10. The paper attacks the final output for that choice, so that every early
    read-out meets inputs made for another one; here each candidate is attacked itself, through all
    its steps.

    Attributes:
        state: n, or None to choose it.
        candidates: the states to choose among.
    """

    stage: ClassVar = "inference"
    inference: ClassVar = ANSWERS | UPDATES
    card: ClassVar[Card] = Card(
        title="A Closer Look at the Adversarial Robustness of Deep Equilibrium Models",
        citation="Yang, Pang, Liu, NeurIPS 2022",
        equation="the early-state defense",
    )
    state: int | None = None
    candidates: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8)

    def __post_init__(self):
        super().__post_init__()
        named = self.candidates if self.state is None else (self.state,)
        if not named or min(named) < 1:
            raise SpecError(
                f"early-state: state {self.state}, candidates {self.candidates}; expected step "
                f"numbers from 1 on, and at least one"
            )

        refuse_own_inference(self)

    def build(self, task: Task) -> Classifier:
        return network_with_states(self, task, self.state or max(self.candidates))

    def calibrate(
        self, target: DefendedModel, held_out: Batch, noise: TrainingNoise
    ) -> dict[str, Any]:
        inner = self.base.calibrate(target, held_out, noise)
        if self.state is not None:
            return {**inner, "state": self.state}
        model = require_equilibrium(target.classifier, self.chain)
        accuracy = [_accuracy(model, state, held_out, noise) for state in self.candidates]
        best = self.candidates[accuracy.index(max(accuracy))]
        return {
            **inner,
            "state": best,
            "robust": dict(zip(map(str, self.candidates), accuracy, strict=True)),
        }

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        model = require_equilibrium(target.classifier, self.chain)
        state = target.calibration["state"]
        with torch.no_grad():
            problem = model.problem(transformed(target, x, noise))
            z = model.iterate(problem, state)
            size = residual(z, problem(z))
            steps = torch.full(size.shape, state + 1, dtype=torch.int64, device=size.device)
            return Prediction(model.readout(z), steps, size, torch.isfinite(size))

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        problem = model.problem(transformed(target, x, noise))
        return model.readout(model.iterate(problem, target.calibration["state"]))

    def unrolled(
        self, target: DefendedModel, x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> Tensor:
        return self.relaxed(target, x, noise)  # no input is updated: this is the whole path


def _accuracy(
    model: EquilibriumNetwork, state: int, held_out: Batch, noise: TrainingNoise
) -> float:
    """Of one state's read-out, under PGD on it."""
    approach = Approach(replayed_surface(model, state))
    samples = Samples(held_out.x, held_out.y, held_out.rows)
    crafted = _CHOICE.perturb(approach, samples, held_out.threat, noise.stream)[0]
    with torch.no_grad():
        logits = model.readout(model.iterate(model.problem(crafted), state))
    return (labels(logits) == samples.labels).double().mean().item()
