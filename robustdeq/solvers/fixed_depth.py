"""A fixed number of applications of the cell, declared as the model."""

import math
from dataclasses import dataclass

from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.solvers.base import Memory, Solver


@dataclass(frozen=True)
class FixedDepth(Solver):
    """z_T of z_{t+1} = f(z_t), whatever its residual.

    For networks that reach no tolerance and weight-tied networks that want none: the budget
    T = max_steps *is* the model, so every row meets what it declares.
    """

    tol: float = math.inf

    def __post_init__(self):
        super().__post_init__()
        if self.tol != math.inf:
            raise SpecError(f"a fixed depth has no tolerance, got {self.tol}; set max_steps alone")

    @property
    def min_steps(self) -> int:
        return self.max_steps

    def step(self, number: int, z: Tensor, fz: Tensor, memory: Memory) -> Tensor:
        return fz
