"""Broyden's method with a bounded memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustdeq.equilibrium import binade
from robustdeq.errors import SpecError
from robustdeq.solvers.base import Memory, Solver


@dataclass(frozen=True)
class Broyden(Solver):
    """Good Broyden (Broyden 1965) on g(z) = f(z) - z, keeping at most `pairs` rank-one updates.

    The inverse Jacobian is B = -I + sum_i u_i v_i^T, updated by Sherman and Morrison with
    u = (dz - B dg) / (dz^T B dg), v = B^T dz; z <- z - B g. After `pairs` updates the memory starts
    anew from -I, a Picard step, rather than dropping its oldest pair: the remaining sum would no
    longer be the inverse of anything. A row whose update is not finite takes a Picard step.
    """

    pairs: int = 10

    def __post_init__(self):
        super().__post_init__()
        if self.pairs < 1:
            raise SpecError(f"pairs {self.pairs}: Broyden's method keeps at least one update")

    def step(self, number: int, z: Tensor, fz: Tensor, memory: Memory) -> Tensor:
        g = fz - z
        used = number % (self.pairs + 1)
        if used == 0:
            memory.clear()
        else:
            self._update(used - 1, z - memory["z"], g - memory["g"], memory)
        memory["z"], memory["g"] = z, g
        following = z - _apply(memory, used, g, transpose=False)
        return torch.where(torch.isfinite(following).all(1, keepdim=True), following, fz)

    def _update(self, slot: int, dz: Tensor, dg: Tensor, memory: Memory) -> None:
        unit = binade(dz)  # an update does not depend on it, and its products then stay in range
        dz, dg = dz / unit, dg / unit
        b_dg = _apply(memory, slot, dg, transpose=False)
        denominator = (dz * b_dg).sum(1, keepdim=True)
        usable = denominator.abs() > torch.finfo(dz.dtype).eps * (dz * dz).sum(1, keepdim=True)
        safe = torch.where(usable, denominator, 1.0)
        memory[f"u{slot}"] = torch.where(usable, (dz - b_dg) / safe, 0.0)
        memory[f"v{slot}"] = _apply(memory, slot, dz, transpose=True)


def _apply(memory: Memory, used: int, vector: Tensor, transpose: bool) -> Tensor:
    """B vector, or B^T vector, with the first `used` pairs."""
    left, right = ("v", "u") if transpose else ("u", "v")
    product = -vector
    for i in range(used):
        weight = (memory[f"{right}{i}"] * vector).sum(1, keepdim=True)
        product = product + weight * memory[f"{left}{i}"]
    return product
