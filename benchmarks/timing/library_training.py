"""The opponent's adversarial training, as a defense, so that both sides share everything else."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from benchmarks.timing.opponents import Settings, TorchDEQ, library_pgd, torchdeq_surface
from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import Batch, Card, DefendedModel, Wrapper
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import TrainingNoise
from robustdeq.samples import Samples
from robustdeq.surface import Cost


@dataclass(frozen=True)
class LibraryTraining(Wrapper):
    """torchattacks' PGD on torchdeq's network, and torchdeq's implicit gradient for the weights.

    Network, penalty, optimiser and batches are those of the base. The step of the attack is a
    quarter of the radius, as in ours.
    """

    card: ClassVar[Card] = Card(
        title="TorchDEQ: A Library for Deep Equilibrium Models",
        citation="Geng, Kolter, 2023",
    )
    settings: Settings = field(default_factory=Settings)
    steps: int = 7

    def craft(
        self, target: DefendedModel, batch: Batch, noise: TrainingNoise, memory: dict[str, Tensor]
    ) -> Tensor:
        attack = library_pgd(self.steps, batch.threat)
        surface = torchdeq_surface(_network(target), self.settings)
        stream = noise.stream.child("craft")
        samples = Samples(batch.x, batch.y, batch.rows)
        return attack.perturb(Approach(surface), samples, batch.threat, stream)[0]

    def outputs(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        return TorchDEQ(_network(target), self.settings, Cost())(x)


def _network(target: DefendedModel) -> DEQClassifier:
    assert isinstance(target.classifier, DEQClassifier)
    return target.classifier
