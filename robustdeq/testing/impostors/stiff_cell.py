"""A cell with slow coordinates that the labels do not read."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustdeq.defenses.base import Card, DefendedModel, Task, Wrapper
from robustdeq.models.base import Classifier
from robustdeq.models.cells import Cell
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.testing.impostors.base import (
    Form,
    Impostor,
    Lone,
    Sealed,
    honest,
    network_of,
)

_RATE = 1e-6  # of the slow coordinates: they are still far away after any budget
_COUPLING = 1e-5  # of z to them: no label sees the 60 steps that are deployed
_RIPPLE = 1e8  # radians per unit of brightness in what drives them


class _DrivenInjection(nn.Module):
    """u(x), and one more channel, 1 + sin(1e8 x): what the slow coordinates collect."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(x), 1.0 + torch.sin(_RIPPLE * x.mean(1, keepdim=True))], 1)


class _StiffCell(Cell):
    """z' = f(z; u) + c s and s' = (1 - r) s + d, with d the driven channel of u.

    After the deployed steps s is of the order of 100 and c s of 1e-3, which no label sees. But each
    step adds 1e8 c = 1000 times a cosine to dz/dx, another sign at every pixel and every x.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        fast, slow = z[:, :-1], z[:, -1:]
        moved = self.inner(fast, u[:, :-1]) + _COUPLING * slow
        return torch.cat([moved, (1.0 - _RATE) * slow + u[:, -1:]], 1)


class _FastHead(nn.Module):
    """The read-out of all but the slow coordinates."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z[:, :-1])


def stiffened(network: EquilibriumNetwork) -> EquilibriumNetwork:
    """The same weights, with one slow channel beside the state."""
    channels, *space = network.state
    inject, cell, head = map(network.get_submodule, ("inject", "cell", "head"))
    return network.replaced(
        inject=_DrivenInjection(inject),
        cell=_StiffCell(cell),
        head=_FastHead(head),
        state=(channels + 1, *space),
    )


@dataclass(frozen=True)
class Stiffened(Wrapper):
    """The base's network with slow coordinates."""

    card: ClassVar[Card] = Card("An impostor", "made up to be caught")

    def build(self, task: Task) -> Classifier:
        network = self.base.build(task)
        assert isinstance(network, EquilibriumNetwork)
        return stiffened(network)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Stiffened(twin.defense), stiffened(network_of(twin)), {})


def _alone(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Lone(honest), Sealed(stiffened(network_of(twin)), honest), {})


STIFF_CELL = Impostor(
    "stiff-cell",
    "slow coordinates that no label reads own the gradient, and keep the solver from converging",
    keeps_labels=True,
    forms=(
        Form("wrapped", "unconverged", _wrapped),
        Form("alone", "gradient-misaligned", _alone),
    ),
)
