"""The deep equilibrium classifier."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import CellProblem, Equilibrium
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier, Deployment, Prediction
from robustdeq.models.cells import Cell, Map
from robustdeq.models.layout import Layout
from robustdeq.solvers.base import Solver, replay, solve


class DEQClassifier(Classifier):
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

    def solve(self, x: Float[Tensor, "batch *image"], record: Sequence[int] = ()) -> Equilibrium:
        """The deployed equilibrium, cold."""
        return solve(self.problem(x), self.solver, record)

    def readout(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits of flat states."""
        return self.head(self.layout.shaped(z))

    def iterate(self, problem: CellProblem, number: int) -> Float[Tensor, "batch dim"]:
        """The deployed solver's state of a number (0 is the start), in the graph of its steps.

        A row that has converged before is read where it stopped.
        """
        if number == 0:
            return problem.z0
        solver = replace(self.solver, max_steps=number)
        equilibrium = solve(problem, solver, record=(number,))
        assert equilibrium.states is not None
        if not torch.is_grad_enabled():
            return equilibrium.states[0]
        stopped = torch.where(equilibrium.converged, equilibrium.returned_at, number)
        return replay(problem, solver, stopped)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.adjoint.solve(self.problem(x), self.solver).z)

    @torch.no_grad()
    def predict(self, x: Tensor, record: Sequence[int] = ()) -> Prediction:
        equilibrium = self.solve(x, record)
        states = equilibrium.states
        return Prediction(
            self.readout(equilibrium.z),
            equilibrium.nfe,
            equilibrium.residual,
            equilibrium.converged,
            None if states is None else torch.stack([self.readout(z) for z in states]),
        )

    def deployment(self) -> Deployment:
        tol = self.solver.tol
        return Deployment(
            self.solver.plugin_name(), tol if tol < float("inf") else None, self.solver.max_steps
        )

    def replaced(
        self, solver: Solver | None = None, adjoint: Adjoint | None = None
    ) -> "DEQClassifier":
        """The same weights, shared, under another solver or adjoint."""
        other = copy.copy(self)
        other.solver = solver or self.solver
        other.adjoint = adjoint or self.adjoint
        return other


def flat_map(f: Map, layout: Layout) -> Map:
    """A cell's map on flat states (B, D) for one on states (B, *state)."""
    return lambda z, *context: layout.flat(f(layout.shaped(z), *context))


def require_deq(classifier: Classifier, who: str) -> DEQClassifier:
    """The network, if it is an equilibrium network.

    Raises:
        SpecError: it is none; the message names `who` needs one.
    """
    if isinstance(classifier, DEQClassifier):
        return classifier
    raise SpecError(
        f"{who} needs the states of an equilibrium network, and {type(classifier).__name__} has "
        f"none; wrap vanilla, for example"
    )


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
