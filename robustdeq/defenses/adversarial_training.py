"""Adversarial training."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import Batch, Card, DefendedModel, Wrapper
from robustdeq.defenses.crafting import found_by
from robustdeq.noise import TrainingNoise


@dataclass(frozen=True)
class AdversarialTraining(Wrapper):
    """min_theta E max_{x' in threat set} loss(x', y): train on what PGD finds.

    Attributes:
        attack: the inner maximisation, on the threat model of the training recipe.
    """

    card: ClassVar[Card] = Card(
        title="Towards Deep Learning Models Resistant to Adversarial Attacks",
        citation="Madry, Makelov, Schmidt, Tsipras, Vladu, ICLR 2018",
        equation="the saddle point problem, equation 2.1",
    )
    attack: Attack = field(default_factory=lambda: PGD(steps=7, step=Fraction(1, 4)))

    def craft(
        self, target: DefendedModel, batch: Batch, noise: TrainingNoise, memory: dict[str, Tensor]
    ) -> Tensor:
        return found_by(self.attack, target, batch, noise)
