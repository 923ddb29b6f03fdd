"""Descent of the prediction's entropy on the input, before the prediction."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Stage, Wrapper
from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor

STEPS, STEP, RADIUS = 4, 1 / 32, 1 / 8


def sharpened(network: Classifier, x: Tensor) -> Tensor:
    """x after a few signed steps towards a more confident answer, inside a small Linf ball.

    After the input-entropy reduction of Yang, Li, Pang and Liu (2023, "Improving adversarial
    robustness of deep equilibrium models with explicit regulations along the neural dynamics",
    section 3.2), on the final state alone.
    """
    moved = x.detach()
    for _ in range(STEPS):
        with torch.enable_grad():
            leaf = moved.detach().requires_grad_()
            log_p = network(leaf).log_softmax(1)
            (gradient,) = torch.autograd.grad(-(log_p.exp() * log_p).sum(), leaf)
        ahead = moved - STEP * gradient.sign()
        moved = ahead.clamp(x.detach() - RADIUS, x.detach() + RADIUS).clamp(0.0, 1.0)
    return moved


@dataclass(frozen=True)
class Sharpening(Wrapper):
    """Predicts the sharpened image; the descent leaves no graph, so attacks see a constant."""

    stage: ClassVar[Stage] = "inference"
    card: ClassVar[Card] = Card("An impostor", "made up to be caught")

    def transform(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return sharpened(target.classifier, x)

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return target.classifier(sharpened(target.classifier, x) + 0.0 * x)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Sharpening(twin.defense), twin.classifier, {})


ENTROPY_SHARPENING = Impostor(
    "entropy-sharpening",
    "a purified image is a constant to autograd, and a descent by signs has no derivative",
    keeps_labels=False,
    forms=(Form("wrapped", "input-rewritten", _wrapped),),
)
