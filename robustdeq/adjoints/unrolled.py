"""The gradient of a few more steps, started at the equilibrium."""

from dataclasses import dataclass

from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.equilibrium import Equilibrium, FixedPointProblem, with_value
from robustdeq.errors import SpecError
from robustdeq.solvers.base import Solver


@dataclass(frozen=True)
class Unrolled(Adjoint):
    """Backpropagation through k damped steps z <- (1 - damping) z + damping f(z) from z*.

    The unrolling-based phantom gradient (Geng et al. 2021, equation 8): a truncated Neumann
    series of the implicit gradient. Good enough to train with; as an attack's only gradient it
    over-reports robustness.
    """

    steps: int = 5
    damping: float = 1.0

    def __post_init__(self):
        if self.steps < 1:
            raise SpecError(f"steps {self.steps}: unrolling needs at least one step")
        if not 0 < self.damping <= 1:
            raise SpecError(f"damping {self.damping} is outside (0, 1]")

    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Tensor:
        z = equilibrium.z
        for _ in range(self.steps):
            z = z.lerp(problem(z), self.damping)
        return with_value(equilibrium.z, z)
