"""The contract of an adjoint."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.equilibrium import Equilibrium, FixedPointProblem
from robustdeq.registry import Plugin
from robustdeq.solvers.base import Solver, solve


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

    def solve(
        self, problem: FixedPointProblem, solver: Solver, record: Sequence[int] = ()
    ) -> Equilibrium:
        """The cold equilibrium, its z attached where gradients are enabled.

        Args:
            record: iterates to keep, detached, by step number (0 is the start).
        """
        found = solve(problem, solver, record)
        if not torch.is_grad_enabled():
            return found
        return replace(found, z=self.attach(problem, found, solver))
