"""The deep equilibrium classifier."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import CellProblem
from robustdeq.models.cells import Cell, Map
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.models.layout import Layout
from robustdeq.noise import RowNoise
from robustdeq.solvers.base import Solver


class DEQClassifier(EquilibriumNetwork):
    """logits = head(z*) with z* = cell(z*; inject(x)) (Bai, Kolter, Koltun 2019, equation 3).

    Args:
        inject: x (B, C, H, W) -> u (B, *state), row by row.
        cell: (z, u) -> (B, *state); its weights are looked at once per problem.
        head: (B, *state) -> logits (B, classes).
        state: the shape of one row's state.
        solver: the deployed one; its tolerance and budget are part of the model.
        adjoint: the rule that trains the network. An attack brings its own.
        start: u -> the solver's start (B, *state); zero without one.
    """

    def __init__(
        self,
        inject: nn.Module,
        cell: Cell,
        head: nn.Module,
        state: tuple[int, ...],
        solver: Solver,
        adjoint: Adjoint,
        start: nn.Module | None = None,
    ):
        super().__init__()
        self.inject, self.cell, self.head, self.start = inject, cell, head, start
        self.state, self.solver, self.adjoint = state, solver, adjoint

    @property
    def layout(self) -> Layout:
        """How flat states stand for the cell's."""
        return Layout(self.state, self.cell.channels_last)

    def problem(self, x: Float[Tensor, "batch *image"]) -> CellProblem:
        """The fixed-point problem of a batch."""
        u = self.layout.settled(self.inject(x))
        if self.start is None:
            z0 = u.new_zeros(len(x), math.prod(self.state))
        else:
            z0 = self.layout.flat(self.start(u))
        return CellProblem(flat_map(self.cell.fixed(), self.layout), (u,), z0)

    def readout(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits of flat states."""
        return self.head(self.layout.shaped(z))

    def features(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return self.layout.shaped(z).flatten(1)

    def probe(self, noise: RowNoise, z: Float[Tensor, "batch dim"], draw: int = 0) -> Tensor:
        return self.layout.flat(noise.normal(self.state, draw)).to(z)


def flat_map(f: Map, layout: Layout) -> Map:
    """A cell's map on flat states (B, D) for one on states (B, *state)."""
    return lambda z, *context: layout.flat(f(layout.shaped(z), *context))


def jacobian_penalty(
    problem: CellProblem, z: Float[Tensor, "batch dim"], v: Float[Tensor, "batch dim"]
) -> Float[Tensor, ""]:
    """|J^T v|^2 / |v|^2, the Hutchinson estimate of |J|_F^2 / D (Bai et al. 2021, equation 9).

    Args:
        z: states to take J = df/dz at, usually the equilibrium; not differentiated through.
        v: one standard normal probe per row.
    """
    leaf = z.detach().requires_grad_()
    (jtv,) = torch.autograd.grad(problem(leaf), leaf, v, create_graph=True)
    return (jtv.square().sum(1) / v.square().sum(1)).mean()
