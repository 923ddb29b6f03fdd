"""Problems, networks and images small enough to know the answer of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.data.base import DataSet, Split
from robustdeq.defenses.base import Task
from robustdeq.equilibrium import CellProblem
from robustdeq.models.cells import TanhCell, normalised_injection, pooled_head
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import Solver
from robustdeq.solvers.picard import Picard

TASK = Task((1, 8, 8), 4)
_TEMPLATES = NoiseStream(0).child("toy images", "templates")


@dataclass(frozen=True)
class LinearToy:
    """f(z; u) = A z + u with A = radius * Q and Q a random rotation, in float64.

    A contracts every vector by exactly `radius`, so a Picard step from zero leaves
    |f(z_t) - z_t| = radius^t |u|, and the fixed point is (I - A)^-1 u.
    """

    dim: int = 6
    radius: float = 0.6
    seed: int = 0

    @property
    def matrix(self) -> Float[Tensor, "dim dim"]:
        """A."""
        rows = torch.arange(self.dim)
        raw = NoiseStream(self.seed).child("rotation").normal(rows, 0, (self.dim,))
        return self.radius * torch.linalg.qr(raw.double()).Q

    def problem(self, u: Float[Tensor, "batch dim"]) -> CellProblem:
        """The problem of a batch of injections, started at zero."""
        matrix = self.matrix
        return CellProblem(lambda z, u: z @ matrix.T + u, (u,), torch.zeros_like(u))

    def answer(self, u: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The fixed point, in closed form and in u's graph."""
        return torch.linalg.solve(self._system(), u.T).T

    def adjoint(self, g: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """d <g, z*> / du = (I - A)^-T g."""
        return torch.linalg.solve(self._system().T, g.T).T

    def injections(self, batch: int) -> Float[Tensor, "batch dim"]:
        """Standard normal u, keyed by row."""
        return NoiseStream(self.seed).normal(torch.arange(batch), 0, (self.dim,)).double()

    def _system(self) -> Tensor:
        return torch.eye(self.dim, dtype=torch.float64) - self.matrix


@dataclass(frozen=True)
class TanhToy:
    """f(z; u) = tanh(A z + u), A as in `LinearToy`: a nonlinear contraction of factor `radius`.

    Its fixed point is chosen, not found: `injection(z)` is the u whose equilibrium is z.
    """

    linear: LinearToy

    def problem(self, u: Float[Tensor, "batch dim"]) -> CellProblem:
        """The problem of a batch of injections, started at zero."""
        matrix = self.linear.matrix
        return CellProblem(lambda z, u: torch.tanh(z @ matrix.T + u), (u,), torch.zeros_like(u))

    def injection(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """artanh(z) - A z, for z in (-1, 1)."""
        return torch.atanh(z) - z @ self.linear.matrix.T


def tiny_deq(
    task: Task = TASK,
    channels: int = 4,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    seed: int = 0,
) -> DEQClassifier:
    """A random `DEQClassifier` of a few hundred parameters, in evaluation mode and frozen."""
    in_channels, height, width = task.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DEQClassifier(
            normalised_injection(in_channels, channels, groups=2),
            TanhCell(channels),
            pooled_head(channels, height, width, task.classes),
            (channels, height, width),
            solver or Picard(),
            adjoint or Unrolled(),
        )
    return model.eval().requires_grad_(False)


def toy_images(count: int, task: Task = TASK, seed: int = 0) -> Split:
    """Noisy copies of one random template per class; the classes come in turn.

    Easy enough to be learnt in a few steps, and near enough to the edges of [0, 1] for its bounds
    to bind.
    """
    labels = torch.arange(count) % task.classes
    noise = NoiseStream(seed).child("toy images").uniform(torch.arange(count), 0, task.shape)
    templates = _TEMPLATES.uniform(torch.arange(task.classes), 0, task.shape).round()
    return Split(0.6 * templates[labels] + 0.4 * noise, labels)


def toy_data(task: Task = TASK, train: int = 48, held_out: int = 16, test: int = 24) -> DataSet:
    """Three disjoint draws of `toy_images`."""
    splits = (toy_images(n, task, seed) for seed, n in enumerate((train, held_out, test)))
    return DataSet(*splits, classes=task.classes)
