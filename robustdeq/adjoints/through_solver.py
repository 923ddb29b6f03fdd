"""The gradient of what was actually computed: full backpropagation through the solver's steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import Equilibrium, FixedPointProblem, with_value
from robustdeq.solvers.base import Solver, replay, solve, solve_in_graph


@dataclass(frozen=True)
class ThroughSolver(Adjoint):
    """Each row's own cold solve, in the graph up to the state it returned.

    The reference gradient: right whether or not the row converged, because it differentiates the
    deployed T-step function itself. Memory grows with the number of steps. A solve of its own
    records the graph on the way; an equilibrium that was found before is replayed.
    """

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        return with_value(equilibrium.z, replay(problem, solver, equilibrium.returned_at))

    def solve(
        self, problem: FixedPointProblem, solver: Solver, record: Sequence[int] = ()
    ) -> Equilibrium:
        if not torch.is_grad_enabled():
            return solve(problem, solver, record)
        return solve_in_graph(problem, solver, record)
