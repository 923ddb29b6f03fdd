"""The fixed-point problem, its per-row answer, and the one definition of the residual."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def residual(
    z: Float[Tensor, "batch dim"], fz: Float[Tensor, "batch dim"]
) -> Float[Tensor, " batch"]:
    """How far each row is from a fixed point: |f(z) - z| / |f(z)|, Euclidean, no unit.

    Relative, so that one tolerance serves states and adjoints of any scale; 0 where both vanish.
    A row that is not finite has residual infinity. Of every other one the value is right, also
    where squares leave the range of the numbers: such a batch is measured in units of its rows.
    """
    limits = torch.finfo(fz.dtype)
    size, change = _norm(fz), _norm(fz - z)
    # Below, the square of a change that the dtype resolves would vanish.
    plain = (size >= limits.tiny**0.5 / limits.eps) & size.isfinite() & change.isfinite()
    if not bool(plain.all()):
        unit = binade(torch.maximum(z.abs(), fz.abs()))
        size, change = _norm(fz / unit), _norm(fz / unit - z / unit)
    value = change / size.clamp_min(limits.tiny)
    return torch.nan_to_num(value, nan=torch.inf, posinf=torch.inf)


def binade(rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 1"]:
    """A power of two near the largest entry of each row, 1 where that is 0 or not finite.

    Dividing by it rounds nothing, so that what is computed in these units keeps its bits.
    """
    peak = rows.detach().abs().amax(1, keepdim=True)
    usable = (peak > 0) & peak.isfinite()
    mantissa, _ = torch.frexp(torch.where(usable, peak, 1.0))
    return torch.where(usable, peak / (2.0 * mantissa), 1.0)


def _norm(rows: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return torch.linalg.vector_norm(rows, dim=1)


def with_value(value: Tensor, differentiable: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient of `differentiable`."""
    return value.detach() + (differentiable - differentiable.detach())


class FixedPointProblem(ABC):
    """Find z with z = f(z), for a batch of independent rows; states are flat, (B, D)."""

    z0: Float[Tensor, "batch dim"]

    @abstractmethod
    def __call__(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """One evaluation of f; row i reads row i of z alone."""

    @abstractmethod
    def select(self, rows: Int[Tensor, " n"]) -> "FixedPointProblem":
        """The same problem for some of its rows."""


@dataclass(frozen=True)
class CellProblem(FixedPointProblem):
    """z = cell(z, *context): the context (the injected input, say) is given row by row."""

    cell: Callable[..., Tensor]
    context: tuple[Tensor, ...]
    z0: Float[Tensor, "batch dim"]

    def __call__(self, z: Tensor) -> Tensor:
        return self.cell(z, *self.context)

    def select(self, rows: Tensor) -> "CellProblem":
        return CellProblem(self.cell, tuple(c[rows] for c in self.context), self.z0[rows])


@dataclass(frozen=True)
class Equilibrium:
    """A solver's answer, row by row.

    Attributes:
        z: the returned states; detached, unless the solve was asked for its graph.
        residual: of exactly these states.
        nfe: evaluations of f spent on the row.
        returned_at: solver steps between the start and the returned state.
        converged: whether the row met the solver's own stopping rule. Not converging is data.
        states: the recorded iterates; a row that stopped earlier repeats its answer.
    """

    z: Float[Tensor, "batch dim"]
    residual: Float[Tensor, " batch"]
    nfe: Int[Tensor, " batch"]
    returned_at: Int[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]
    states: Float[Tensor, "steps batch dim"] | None = None
