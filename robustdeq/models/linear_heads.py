"""Linear read-outs whose gain is bounded."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize


class UnitNorm(nn.Module):
    """W / |W|_2: the largest singular value becomes 1, computed exactly."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / torch.linalg.matrix_norm(weight, 2)


class OrthonormalRows(nn.Module):
    """The rows of W, made orthonormal one after the other: the Q of a QR decomposition of W^T.

    Torch's own Householder parametrisation keeps signs as the integer part of trained numbers, so
    that the first step of weight decay turns its weight into zeros.
    """

    def forward(self, weight: Tensor) -> Tensor:
        q, r = torch.linalg.qr(weight.T)
        return (q * r.diagonal().sign()).T  # the one with a positive diagonal of R is continuous


class FrozenLinear(nn.Module):
    """x -> W x with a W that is not trained: a buffer."""

    weight: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


def plain(features: int, classes: int) -> nn.Module:
    """W x + b."""
    return nn.Linear(features, classes)


def spectral(features: int, classes: int) -> nn.Module:
    """W x + b with |W|_2 = 1."""
    layer = nn.Linear(features, classes)
    parametrize.register_parametrization(layer, "weight", UnitNorm())
    return layer


def orthogonal(features: int, classes: int) -> nn.Module:
    """W x with orthonormal rows."""
    layer = nn.Linear(features, classes, bias=False)
    parametrize.register_parametrization(layer, "weight", OrthonormalRows())
    return layer


def frozen_orthogonal(features: int, classes: int) -> nn.Module:
    """W x with orthonormal rows, drawn once and never trained."""
    weight = torch.empty(classes, features)
    return FrozenLinear(nn.init.orthogonal_(weight))
