"""The gradient of what was actually computed: full backpropagation through the solver's steps."""

from dataclasses import dataclass

from torch import Tensor

from robustdeq.adjoints.base import Adjoint, with_value
from robustdeq.equilibrium import Equilibrium, FixedPointProblem
from robustdeq.solvers.base import Solver, replay


@dataclass(frozen=True)
class ThroughSolver(Adjoint):
    """Each row's own cold solve, replayed in the graph up to the state it returned.

    The reference gradient: right whether or not the row converged, because it differentiates the
    deployed T-step function itself. Memory grows with the number of steps.
    """

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        return with_value(equilibrium.z, replay(problem, solver, equilibrium.returned_at))
