"""A residual GroupNorm network: the defense whose weights the slow cell is."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Card, DefendedModel, Defense, Task
from robustdeq.models.cells import Cell, pooled_head
from robustdeq.models.deq import DEQClassifier, jacobian_penalty
from robustdeq.noise import TrainingNoise
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve


class ResidualCell(Cell):
    """f(z; u) = N3(relu(z + N2(u + W2 N1(relu(W1 z))))): two 3x3 convolutions, three GroupNorms.

    The single-stream residual cell of Bai, Koltun, Kolter (2020, "Multiscale deep equilibrium
    models", figure 3), whose normalisations make its Jacobian hard to contract.
    """

    def __init__(self, channels: int, groups: int = 8):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(3))

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        inner = self.norms[0](torch.relu(self.inner(z)))
        return self.norms[2](torch.relu(z + self.norms[1](u + self.outer(inner))))


@dataclass(frozen=True)
class Residual(Defense):
    """A residual GroupNorm network with a Jacobian penalty too weak to make it quick."""

    card: ClassVar[Card] = Card(
        title="Stabilizing Equilibrium Models by Jacobian Regularization",
        citation="Bai, Koltun, Kolter, ICML 2021",
        equation="equation 9",
    )
    channels: int = 32
    jacobian_penalty: float = 3.0

    def build(self, task: Task) -> DEQClassifier:
        in_channels, height, width = task.shape
        return DEQClassifier(
            nn.Conv2d(in_channels, self.channels, 3, padding=1),
            ResidualCell(self.channels),
            pooled_head(self.channels, height, width, task.classes),
            (self.channels, height, width),
            Anderson(tol=1e-3, max_steps=200, every=2),
            Unrolled(steps=2),
        )

    def penalty(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        model = target.classifier
        assert isinstance(model, DEQClassifier)
        problem = model.problem(x)
        z = solve(problem, Anderson(tol=1e-2, max_steps=40, every=2)).z
        v = noise.child("jacobian").normal(tuple(z.shape[1:])).to(z)
        return self.jacobian_penalty * jacobian_penalty(problem, z, v)
