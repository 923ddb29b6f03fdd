"""The gradient with the inverse Jacobian left out."""

from dataclasses import dataclass

from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import Equilibrium, FixedPointProblem, with_value
from robustdeq.solvers.base import Solver


@dataclass(frozen=True)
class JacobianFree(Adjoint):
    """(I - J)^-1 replaced by I: one step at the equilibrium (Fung et al. 2022, equation 13)."""

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        return with_value(equilibrium.z, problem(equilibrium.z))
