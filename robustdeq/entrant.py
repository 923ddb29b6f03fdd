"""The entrant: a defense chain, its training recipe and a seed, by specification alone."""

import math
from dataclasses import dataclass, replace

from robustdeq.defenses.base import Defense
from robustdeq.defenses.chains import trained_part
from robustdeq.errors import SpecError
from robustdeq.spec import digest
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW with a one-cycle learning rate (Smith and Topin 2017).

    Attributes:
        threat: what adversarial training defends against and held-out robustness is measured on;
            None becomes the protocol's when an entrant enters one.
        learning_rate: the peak, reached after the share `warmup` of all steps, then annealed by a
            half cosine to zero.
        validate_every: epochs between two looks at the held-out images. The weights kept are those
            of the look with the highest sum of clean and robust held-out accuracy (early stopping
            in the sense of Rice, Wong and Kolter 2020); the test images are never read.
    """

    threat: ThreatModel | None = None
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warmup: float = 0.2
    validate_every: int = 3

    def __post_init__(self):
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise SpecError(f"recipe: {name} {getattr(self, name)}; expected at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.warmup < 1:
            raise SpecError(
                f"recipe: learning_rate {self.learning_rate}, weight_decay {self.weight_decay}, "
                f"warmup {self.warmup}; expected > 0, >= 0 and a share in [0, 1)"
            )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of optimiser step `step` of `steps`."""
        rise = self.warmup * steps
        if step < rise:
            return self.learning_rate * (step + 1) / (rise + 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


@dataclass(frozen=True)
class Entrant:
    """Who enters a protocol; its checkpoint is the weights that its training ends with.

    Attributes:
        data: the digest of what it is trained on (`DataSet.training_digest`); empty until it enters
            a protocol.
    """

    defense: Defense
    recipe: Recipe = Recipe()
    seed: int = 0
    data: str = ""

    @property
    def chain(self) -> str:
        """The defense chain, outermost first: "trades/vanilla"."""
        return self.defense.chain

    @property
    def id(self) -> str:
        """The digest of the specification, by which folders are named."""
        return digest(self)

    @property
    def trained(self) -> "Entrant":
        """The entrant whose training gives the weights: this one without inference wrappers."""
        return replace(self, defense=trained_part(self.defense))

    def against(self, threat: ThreatModel) -> "Entrant":
        """This entrant with the threat filled in where its recipe leaves it open."""
        if self.recipe.threat is not None:
            return self
        return replace(self, recipe=replace(self.recipe, threat=threat))

    def trained_on(self, data: str) -> "Entrant":
        """This entrant on the training data of a digest.

        Raises:
            SpecError: its specification names other data.
        """
        if self.data not in ("", data):
            raise SpecError(
                f"{self.chain} is specified for the training data {self.data[:16]}, but there is "
                f"{data[:16]}; restore the original files, or leave `data` out"
            )
        return replace(self, data=data)
