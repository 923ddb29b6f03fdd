"""The right gradient of every row: implicit where it converged, through the solver elsewhere."""

from dataclasses import dataclass, field

from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.implicit import Implicit
from robustdeq.equilibrium import Equilibrium, FixedPointProblem, with_value
from robustdeq.solvers.base import Solver, replay


@dataclass(frozen=True)
class Exact(Adjoint):
    """Implicit for converged rows and through-solver for the others, row by row.

    The implicit gradient of a state that is no fixed point is a direction of nothing in particular,
    and an attack that follows it over-reports robustness; there the deployed steps themselves are
    differentiated.
    """

    implicit: Implicit = field(default_factory=Implicit)

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        z = self.implicit.attach(problem, equilibrium, solver)
        missed = (~equilibrium.converged).nonzero()[:, 0]
        if not len(missed):
            return z
        steps = replay(problem.select(missed), solver, equilibrium.returned_at[missed])
        return z.index_copy(0, missed, with_value(equilibrium.z[missed], steps))
