"""The monotone operator cell: one equilibrium for every input, whatever the weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robustdeq.models.cells import Cell, Map


class MonotoneCell(Cell):
    """The Peaceman-Rachford operator whose fixed points are those of z = relu(W z + u).

        W  = (1 - m) I - A^T A + B - B^T              (proposition 1), so that I - W >= m I
        s' = 2 V (2 z - s + alpha u) - (2 z - s),   z = relu(s),   V = (I + alpha (I - W))^-1
                                                      (algorithm 2, on the auxiliary state s)

    Winston and Kolter, NeurIPS 2020. At a fixed point s = z + alpha (W z + u - z). Plain Picard
    steps of this cell *are* their splitting method, so every solver, adjoint and audit serves. V is
    computed once per problem.

    Args:
        width: of s, z and u, (B, width) each.
        margin: m > 0.
        alpha: > 0, the method's step; any converges.
    """

    def __init__(self, width: int, margin: float, alpha: float):
        super().__init__()
        self.margin, self.alpha = margin, alpha
        self.symmetric = nn.Linear(width, width, bias=False)
        self.skew = nn.Linear(width, width, bias=False)

    @property
    def weight(self) -> Float[Tensor, "width width"]:
        """W, in the graph of A and B."""
        a, b = self.symmetric.weight, self.skew.weight
        return (1.0 - self.margin) * _identity(a) - a.T @ a + b - b.T

    @property
    def reflection(self) -> Float[Tensor, "width width"]:
        """2 V - I, the Cayley operator of alpha (I - W): a contraction of Euclidean norm."""
        one = _identity(self.symmetric.weight)
        return 2.0 * torch.linalg.inv(one + self.alpha * (one - self.weight)) - one

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        return self.fixed()(z, u)

    def fixed(self) -> Map:
        reflection = self.reflection
        injected = self.alpha * (reflection + _identity(reflection))  # 2 alpha V

        def f(s: Tensor, u: Tensor) -> Tensor:
            return s.abs() @ reflection.T + u @ injected.T  # |s| = 2 relu(s) - s

        return f


def _identity(like: Tensor) -> Tensor:
    return torch.eye(len(like), dtype=like.dtype, device=like.device)
