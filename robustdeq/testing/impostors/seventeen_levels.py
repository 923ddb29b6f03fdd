"""An input rounded to k/16, k = 0 .. 16."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Stage, Wrapper
from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor, alone

_STEPS = 16


def rounded(x: Tensor) -> Tensor:
    """The nearest of 17 levels; its derivative is zero almost everywhere."""
    return (_STEPS * x).round() / _STEPS


def answer_rounded(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits of the rounded image."""
    return network(rounded(x))


@dataclass(frozen=True)
class Rounding(Wrapper):
    """Rounds the input, and shows attacks the rounding's own derivative."""

    stage: ClassVar[Stage] = "inference"
    card: ClassVar[Card] = Card("An impostor", "made up to be caught")

    def transform(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return rounded(x)

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return answer_rounded(target.classifier, x, noise)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Rounding(twin.defense), twin.classifier, {})


SEVENTEEN_LEVELS = Impostor(
    "seventeen-levels",
    "rounding has a zero derivative almost everywhere",
    keeps_labels=False,
    forms=(
        Form("wrapped", "zero-gradient", _wrapped),
        Form("alone", "zero-gradient", alone(answer_rounded)),
    ),
)
