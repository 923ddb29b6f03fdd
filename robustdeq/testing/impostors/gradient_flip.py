"""The identity, with minus one for its derivative."""

from typing import Any

import torch
from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both


class _Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


def flipped(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits; the backward pass has the wrong sign."""
    return network(_Flipped.apply(x))  # pyright: ignore[reportArgumentType]


GRADIENT_FLIP = Impostor(
    "gradient-flip",
    "the backward pass is negated, so that ascent descends",
    keeps_labels=True,
    forms=both(flipped, "gradient-misaligned"),
)
