"""Inference that updates its own input until the prediction is sure."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

import torch
from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Sign, Task, Wrapper
from robustdeq.defenses.inference import ANSWERS, UPDATES
from robustdeq.defenses.readouts import network_with_states, refuse_own_inference, transformed
from robustdeq.equilibrium import residual
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier, Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.noise import RowNoise

Descent = Literal["lower", "raise", "random"]


@dataclass(frozen=True)
class EntropyReduction(Wrapper):
    """Between blocks of solver steps the input moves to lower the entropy of the prediction.

        z <- `block` solver steps from z on the input x~;
        x~ <- clip(x~ - step * radius * sign(grad H(head(f(z; x~)))), |x~ - x| <= radius), R times

    until `horizon` steps are done; the answer is read from the last state. z is a constant in the
    inner gradient. The updates after the last block would change nothing that is read, and are
    left out. The paper's code runs Broyden steps whose factors it carries over and corrects; here
    the base's own solver runs, started afresh in each block. With R = 0 that is the base's network
    stopped at `horizon`, the control to compare with; "raise" and "random" are further controls.

    x~ may end twice the radius away from the clean image. Nothing of the updates has a useful
    derivative: `relaxed` goes straight through them at the updated inputs and the defended states,
    `unrolled` through the last few with another derivative for their sign.

    Attributes:
        updates: R, after each block but the last; 10 in the paper's code.
        block: solver steps between two rounds of updates; 2 in the paper's code.
        horizon: solver steps in all; 8 in the paper's code.
        radius: of the updates, around the received image, in Linf; the paper's is the attack's.
        step: as a fraction of the radius; a quarter in the paper's code.
        entropy: "lower" is the defense; "raise" it, or move by "random" signs: controls.
    """

    stage: ClassVar = "inference"
    inference: ClassVar = ANSWERS | UPDATES
    card: ClassVar[Card] = Card(
        title="Improving Adversarial Robustness of Deep Equilibrium Models with Explicit "
        "Regulations Along the Neural Dynamics",
        citation="Yang, Li, Pang, Liu, ICML 2023",
        equation="input entropy reduction, section 3.2",
    )
    updates: int = 10
    block: int = 2
    horizon: int = 8
    radius: Fraction = Fraction(3, 16)
    step: Fraction = Fraction(1, 4)
    entropy: Descent = "lower"

    def __post_init__(self):
        super().__post_init__()
        if self.updates < 0 or self.block < 1 or self.horizon < 1 or self.horizon % self.block:
            raise SpecError(
                f"entropy-reduction: updates {self.updates}, block {self.block}, horizon "
                f"{self.horizon}; expected no negative count, and a horizon of whole blocks"
            )
        if self.radius <= 0 or self.step <= 0:
            raise SpecError(
                f"entropy-reduction: radius {self.radius}, step {self.step}; expected above 0"
            )
        refuse_own_inference(self)

    def build(self, task: Task) -> Classifier:
        return network_with_states(self, task, self.horizon)

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        model = require_equilibrium(target.classifier, self.chain)
        with torch.no_grad():
            moved, z = self._trajectory(model, transformed(target, x, noise), noise, 0, torch.sign)
            size = residual(z, model.problem(moved)(z))
            nfe = self.horizon + self.updates * (self.horizon // self.block - 1) + 1
            return Prediction(
                model.readout(z),
                torch.full(x.shape[:1], nfe, device=x.device),
                size,
                torch.isfinite(size),
            )

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return self.unrolled(target, x, noise, 0, torch.sign)

    def unrolled(
        self, target: DefendedModel, x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        _, z = self._trajectory(model, transformed(target, x, noise), noise, last, sign)
        return model.readout(z)

    def _trajectory(
        self, model: EquilibriumNetwork, x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> tuple[Tensor, Tensor]:
        """The last input and state; only the last `last` updates keep their own derivative."""
        rounds = self.horizon // self.block - 1
        moved, z = x, None
        for number in range(rounds + 1):
            z = self._block(model, moved, z)
            if number == rounds:
                break
            for update in range(number * self.updates, (number + 1) * self.updates):
                if rounds * self.updates - update <= last:
                    moved = self._updated(model, x, moved, z, noise.child(update), sign)
                    continue
                with torch.no_grad():
                    moved = self._updated(model, x, moved, z, noise.child(update), sign)
                moved = moved + (x - x.detach())
        assert z is not None
        return moved, z

    def _updated(
        self,
        model: EquilibriumNetwork,
        x: Tensor,
        moved: Tensor,
        z: Tensor,
        noise: RowNoise,
        sign: Sign,
    ) -> Tensor:
        """One step of the input, projected."""
        if self.entropy == "random":
            direction = noise.normal(tuple(x.shape[1:])).to(x).sign()
        else:
            direction = sign(_slope(model, moved, z))
        size = float(self.radius * self.step) * (-1 if self.entropy == "lower" else 1)
        radius = float(self.radius)
        near = torch.minimum(torch.maximum(moved + size * direction, x - radius), x + radius)
        return near.clamp(0, 1)

    def _block(self, model: EquilibriumNetwork, x: Tensor, z: Tensor | None) -> Tensor:
        problem, memory = model.problem(x), {}
        z = problem.z0 if z is None else z
        for number in range(self.block):
            z = model.solver.step(number, z, problem(z), memory)
        return z


def _slope(model: EquilibriumNetwork, x: Tensor, z: Tensor) -> Tensor:
    """The gradient of the prediction's entropy by the input, one evaluation past z."""
    kept = torch.is_grad_enabled()
    with torch.enable_grad():
        # A tensor of its own: z may hang on x as well, and is a constant of this slope.
        leaf = x.clone() if kept and x.requires_grad else x.detach().requires_grad_()
        p = model.readout(model.problem(leaf)(z if kept else z.detach())).softmax(1)
        entropy = torch.special.entr(p).sum()
        (gradient,) = torch.autograd.grad(entropy, leaf, create_graph=kept)
    return gradient
