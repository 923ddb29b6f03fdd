"""Cells: the layers f(z; u) whose fixed points are the networks' hidden states."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from robustdeq.errors import DataError

Map = Callable[..., Tensor]


class Cell(nn.Module, ABC):
    """The layer f(z; u) of an equilibrium network: states (B, *state) to states, row by row.

    Attributes:
        channels_last: whether states (B, C, H, W) and what comes with them lie in memory with the
            channels next to each other. Faster for convolutions alone, slower with normalisations.
    """

    channels_last: bool = False

    @abstractmethod
    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        """One evaluation of f."""

    def fixed(self) -> Map:
        """f for the weights as they are now: what depends on them alone is computed here, once.

        A solve evaluates f dozens of times. A weight normalisation or the inverse of a matrix
        belongs here, in the autograd graph, and not into every evaluation. The map takes (z, u),
        and whatever else of each row the network gives its cell.
        """
        return self


class TanhCell(Cell):
    """f(z; u) = tanh(u + W2 * tanh(W1 * z)), with two 3x3 convolutions.

    A saturating cell without a normalisation inside. With the injection normalised and the Jacobian
    penalised it converges under plain Picard steps on clean and adversarial inputs alike, which a
    GroupNorm inside the cell prevents.

    Args:
        channels: of z and u, both (B, channels, H, W).
    """

    channels_last = True

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        return torch.tanh(u + self.outer(torch.tanh(self.inner(z))))


def normalised_injection(in_channels: int, channels: int, groups: int = 8) -> nn.Module:
    """u(x): a 3x3 convolution and a GroupNorm, so that no input scale can saturate the cell."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1), nn.GroupNorm(groups, channels)
    )


def pooled_head(channels: int, height: int, width: int, classes: int) -> nn.Module:
    """2x2 average pooling and a linear read-out of (B, channels, height, width).

    Raises:
        DataError: when asked about another height or width, which pooling might hide.
    """
    return nn.Sequential(
        _Halved(height, width),
        nn.Flatten(),
        nn.Linear(channels * (height // 2) * (width // 2), classes),
    )


class _Halved(nn.Module):
    """2x2 average pooling of maps of one size: of odd ones it drops a row or a column."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.size = height, width

    def forward(self, z: Tensor) -> Tensor:
        if z.shape[2:] != self.size:
            raise DataError(
                f"maps are {tuple(z.shape[2:])} (height, width), the head was built for "
                f"{self.size}; give images of the size that the network was built for"
            )
        return avg_pool2d(z, 2)
