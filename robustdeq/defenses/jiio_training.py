"""Adversarial training by joint inference and input optimisation."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.jiio import JIIO
from robustdeq.defenses.base import Batch, Card, DefendedModel, Wrapper
from robustdeq.defenses.crafting import found_by
from robustdeq.errors import SpecError
from robustdeq.noise import TrainingNoise


@dataclass(frozen=True)
class JIIOTraining(Wrapper):
    """min_theta E loss(x', y): train on what a few joint rounds of `jiio` find.

    It differs little from `adversarial-training`, which on an equilibrium network takes its steps
    through the joint training surface as well. Its steps are longer, shrink, and end without a
    solve for the last iterate: ten rounds cost fewer evaluations than the seven steps and the solve
    there, and about their time. Both train on gradients that lag, which a network could learn to
    exploit by converging slowly: judge either with an attack in mode = "exact". The report
    `results/reports/joint-training.md` compares the two.

    The paper's is the joint inner iteration. Its release runs 80 rounds, penalises the Jacobian
    (the base's affair here; `vanilla` does) and starts the training adjoint from the attack's; here
    the training step takes x' alone from the attack.

    Attributes:
        attack: the inner maximisation, on the threat model of the training recipe.

    Raises:
        SpecError: the attack is another one than `jiio`.
    """

    card: ClassVar[Card] = Card(
        title="Joint inference and input optimization in equilibrium networks",
        citation="Gurumurthy, Bai, Manchester, Kolter, NeurIPS 2021",
        equation="the joint iteration, equation 11",
    )
    attack: Attack = field(default_factory=lambda: JIIO(rounds=10))

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.attack, JIIO):
            raise SpecError(
                f"jiio-training: attack {self.attack.plugin_name()!r}; expected 'jiio': "
                f"train on any other with adversarial-training"
            )

    def craft(
        self, target: DefendedModel, batch: Batch, noise: TrainingNoise, memory: dict[str, Tensor]
    ) -> Tensor:
        return found_by(self.attack, target, batch, noise)
