"""The contract of an adjoint."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from robustdeq.equilibrium import Equilibrium, FixedPointProblem
from robustdeq.registry import Plugin
from robustdeq.solvers.base import Solver


class Adjoint(Plugin, ABC):
    """A rule for d z* / d(x, theta).

    The attached state equals `equilibrium.z` bit for bit, whatever the rule: training, attack and
    judge look at one function, and only the direction of the gradient differs.
    """

    kind: ClassVar[str] = "adjoints"

    @abstractmethod
    def attach(
        self, problem: FixedPointProblem, equilibrium: Equilibrium, solver: Solver
    ) -> Float[Tensor, "batch dim"]:
        """`equilibrium.z` in the autograd graph of the problem's context and parameters.

        Args:
            problem: the problem that was solved, its context still in the graph.
            solver: the one that found the equilibrium, cold.
        """


def with_value(value: Tensor, differentiable: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient of `differentiable`."""
    return value.detach() + (differentiable - differentiable.detach())
