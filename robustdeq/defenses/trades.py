"""TRADES."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustdeq.defenses.base import Batch, Card, DefendedModel, Wrapper
from robustdeq.defenses.crafting import ascend
from robustdeq.errors import SpecError
from robustdeq.noise import TrainingNoise
from robustdeq.objectives.divergence import Divergence


@dataclass(frozen=True)
class Trades(Wrapper):
    """loss = CE(f(x), y) + beta KL(f(x) || f(x')), with x' the maximiser of the KL term.

    Attributes:
        beta: the weight of the robust term (1/lambda in the paper; 6 in its CIFAR-10 experiments).
        steps: of the inner ascent, signed and projected, from a Gaussian start of scale 0.001.
        step: of the inner ascent, as a fraction of the radius.
    """

    card: ClassVar[Card] = Card(
        title="Theoretically Principled Trade-off between Robustness and Accuracy",
        citation="Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, ICML 2019",
        equation="equation 5, algorithm 1",
    )
    beta: float = 6.0
    steps: int = 7
    step: Fraction = Fraction(1, 4)

    def __post_init__(self):
        super().__post_init__()
        if self.beta < 0 or self.steps < 1 or self.step <= 0:
            raise SpecError(
                f"trades: beta {self.beta}, steps {self.steps}, step {self.step}; "
                f"expected beta >= 0, steps >= 1 and a positive step"
            )

    def craft(
        self, target: DefendedModel, batch: Batch, noise: TrainingNoise, memory: dict[str, Tensor]
    ) -> Tensor:
        surface, ascent = target.defense.crafting_surface(target, noise), Divergence()
        reference = surface.view(batch.x, batch.rows, ascent.needs).logits
        start = 1e-3 * noise.child("trades").normal(tuple(batch.x.shape[1:])).to(batch.x)
        x = batch.threat.project(batch.x + start, batch.x)
        return ascend(surface, x, batch, ascent, self.steps, self.step, reference)

    def objective(
        self, target: DefendedModel, batch: Batch, x_adv: Tensor, noise: TrainingNoise
    ) -> Tensor:
        both = torch.cat([batch.x, x_adv])
        twice = noise.stream.at(torch.cat([noise.rows, noise.rows]))
        logits = target.defense.outputs(target, both, twice)
        clean, adversarial = logits.chunk(2)
        # Both sides of the divergence are trained, so the reference stays in the graph.
        p = clean.softmax(1)
        robust = (p * (clean.log_softmax(1) - adversarial.log_softmax(1))).sum(1).mean()
        penalty = target.defense.penalty(target, x_adv, noise)
        return cross_entropy(clean, batch.y) + self.beta * robust + penalty
