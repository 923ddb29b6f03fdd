"""Anderson acceleration, plain or alternating with Picard steps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustdeq.equilibrium import binade
from robustdeq.errors import SpecError
from robustdeq.solvers.base import Memory, Solver


@dataclass(frozen=True)
class Anderson(Solver):
    """z_{k+1} = sum_i a_i [(1 - beta) z_i + beta f(z_i)] over the last m iterates.

    The weights minimise |sum_i a_i (f(z_i) - z_i)| with sum_i a_i = 1, row by row (Anderson 1965;
    Walker and Ni 2011, algorithm AA). Mixing only every `every`-th step, with Picard steps in
    between, is the alternating scheme of Pratapa, Suryanarayana and Pask (2016).

    We differ in the regularisation: `ridge` multiplies each row's own mean squared residual, so
    that the tiny right-hand sides of an adjoint are solved as well as a state; an absolute ridge
    would drown them and turn the method into plain averaging. The small systems are solved in
    float64. A row whose weights are not finite takes a Picard step.
    """

    history: int = 5
    every: int = 1
    beta: float = 1.0
    ridge: float = 1e-7

    def __post_init__(self):
        super().__post_init__()
        if self.history < 2 or self.every < 1:
            raise SpecError(
                f"history {self.history} and every {self.every}: Anderson mixing needs a history "
                f"of at least 2 and a period of at least 1"
            )
        if self.beta <= 0 or self.ridge < 0:
            raise SpecError(
                f"beta {self.beta} must be positive and ridge {self.ridge} not negative"
            )

    def step(self, number: int, z: Tensor, fz: Tensor, memory: Memory) -> Tensor:
        slot = number % self.history
        memory[f"f{slot}"] = fz
        memory[f"g{slot}"] = fz - z
        slots = range(min(number + 1, self.history))
        if len(slots) < 2 or (number + 1) % self.every:
            return fz
        weights = self._weights(torch.stack([memory[f"g{i}"] for i in slots], dim=1))
        latest = torch.zeros_like(weights)
        latest[:, slot] = 1.0
        weights = torch.where(torch.isfinite(weights).all(1, keepdim=True), weights, latest)
        mixed = weights[:, :1] * memory["f0"]
        for i in slots[1:]:
            mixed = torch.addcmul(mixed, weights[:, i : i + 1], memory[f"f{i}"])
        if self.beta != 1.0:
            for i in slots:
                step = (self.beta - 1.0) * weights[:, i : i + 1]
                mixed = torch.addcmul(mixed, step, memory[f"g{i}"])
        return mixed

    def _weights(self, g: Tensor) -> Tensor:
        """(B, m): the constrained least-squares weights, by the bordered normal equations."""
        gram = _gram(g)
        size = gram.diagonal(dim1=1, dim2=2).mean(1)
        scaled = gram / size.clamp_min(torch.finfo(torch.float64).tiny)[:, None, None]
        eye = torch.eye(g.shape[1], dtype=torch.float64, device=g.device)
        raw, _ = torch.linalg.solve_ex(scaled + self.ridge * eye, torch.ones_like(scaled[:, :, 0]))
        return (raw / raw.sum(1, keepdim=True)).to(g.dtype)


def _gram(g: Tensor) -> Tensor:
    """(B, m, m): the products of each row's residuals, up to a factor of each row's own."""
    limits = torch.finfo(g.dtype)
    gram = torch.einsum("bmd,bnd->bmn", g, g)
    sizes = gram.diagonal(dim1=1, dim2=2)
    if not bool(((sizes >= limits.tiny / limits.eps) & sizes.isfinite()).all()):
        g = g / binade(g.flatten(1))[:, :, None]
        gram = torch.einsum("bmd,bnd->bmn", g, g)
    return gram.double()
