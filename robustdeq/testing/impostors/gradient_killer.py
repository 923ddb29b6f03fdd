"""The identity, with a zero for its derivative."""

from typing import Any

import torch
from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both


class _Killed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.zeros_like(gradients[0])


def killed(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits; the backward pass ends in zeros."""
    return network(_Killed.apply(x))  # pyright: ignore[reportArgumentType]


GRADIENT_KILLER = Impostor(
    "gradient-killer",
    "the backward pass of an identity layer returns zeros",
    keeps_labels=True,
    forms=both(killed, "zero-gradient"),
)
