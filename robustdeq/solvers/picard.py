"""Picard iteration."""

from dataclasses import dataclass

from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.solvers.base import Memory, Solver


@dataclass(frozen=True)
class Picard(Solver):
    """z <- (1 - damping) z + damping f(z) (Picard 1890; damped: Krasnoselskii 1955).

    The judge's solver of choice: it has no history, so a row's path does not depend on its batch
    beyond the rounding of f itself.
    """

    damping: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.damping <= 1:
            raise SpecError(f"damping {self.damping} is outside (0, 1]; 1 is the plain iteration")

    def step(self, number: int, z: Tensor, fz: Tensor, memory: Memory) -> Tensor:
        return fz if self.damping == 1.0 else z.lerp(fz, self.damping)
