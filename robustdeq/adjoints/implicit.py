"""The exact gradient of a converged equilibrium, by the implicit function theorem."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import Equilibrium, FixedPointProblem
from robustdeq.gradients import gradient_of
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import Solver, solve


class AdjointProblem(FixedPointProblem):
    """v = J^T v + g with J = df/dz at z: the linear fixed point behind an implicit gradient.

    f is evaluated once, with a graph; every evaluation of this problem is then one vector-Jacobian
    product (of a cell whose compiled graph serves only once, an evaluation of f as well). A
    selection rebuilds the graph for its rows.

    Attributes:
        fz: f(z) in the graph of z and of the problem's context.
    """

    def __init__(self, problem: FixedPointProblem, z: Tensor, g: Tensor):
        self._problem, self._z, self._g = problem, z.detach(), g
        self.z0, self._compiled = g, False
        with torch.enable_grad():
            self._leaf = self._z.clone().requires_grad_()
            self.fz = problem(self._leaf)

    def __call__(self, v: Tensor) -> Tensor:
        if not self._compiled:
            try:
                return gradient_of(self.fz, self._leaf, v, keep_graph=True) + self._g
            except RuntimeError as error:
                if "donated buffers" not in str(error):
                    raise
        # The graph of a compiled cell serves one product alone, so each gets one of its own.
        self._compiled = True
        with torch.enable_grad():
            fz = self._problem(self._leaf)
        return gradient_of(fz, self._leaf, v) + self._g

    def select(self, rows: Tensor) -> "AdjointProblem":
        return AdjointProblem(self._problem.select(rows), self._z[rows], self._g[rows])


@dataclass(frozen=True)
class Implicit(Adjoint):
    """dL/d(.) = v^T df(z*; .)/d(.), where v = J^T v + dL/dz* (Bai et al. 2019, theorem 1).

    The linear system is solved per row, like the equilibrium itself, by `solver`. Exact where both
    solves converged and wrong elsewhere: of a state that is no fixed point, through-solver is the
    true gradient. Memory does not grow with the number of solver steps.
    """

    solver: Solver = field(default_factory=lambda: Anderson(tol=1e-4, max_steps=60, every=2))

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        fz = problem(equilibrium.z)
        return _ImplicitState.apply(fz, equilibrium.z, problem, self.solver)  # type: ignore[return-value]


class _ImplicitState(Function):
    """Forward: the equilibrium. Backward: hands f(z*) the solution of the adjoint problem."""

    @staticmethod
    def forward(ctx: Any, fz: Tensor, z: Tensor, problem: FixedPointProblem, solver: Solver):
        ctx.problem, ctx.solver, ctx.z = problem, solver, z
        return z.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor):
        (g,) = gradients
        v = solve(AdjointProblem(ctx.problem, ctx.z, g.detach()), ctx.solver).z
        return v, None, None, None
