"""A purification that knows what it has to restore."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Stage, Wrapper
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor
from robustdeq.testing.impostors.known_images import album


def restored(x: Tensor, known: Tensor) -> Tensor:
    """Of the known images the one that is nearest to each of x, in the Euclidean distance."""
    return known.to(x)[torch.cdist(x.detach().flatten(1), known.to(x).flatten(1)).argmin(1)]


@dataclass(frozen=True)
class Restoration(Wrapper):
    """Hands the network the nearest of the known images; needs no label, and passes for denoising.

    Its gradient is the network's own at that image, as purification is commonly attacked.
    """

    stage: ClassVar[Stage] = "inference"
    card: ClassVar[Card] = Card("An impostor", "made up to be caught")
    known: Tensor

    def transform(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return restored(x, self.known)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Restoration(twin.defense, album().images), twin.classifier, {})


NEAREST_IMAGE = Impostor(
    "nearest-image",
    "what the network sees is a clean test image, whatever was made of it",
    keeps_labels=False,
    forms=(Form("wrapped", "memorized", _wrapped),),
)
