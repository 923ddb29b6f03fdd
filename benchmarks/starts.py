"""What the solver's start does to an answer: the threat that Lyapunov stability is about."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.answers import margin
from robustdeq.equilibrium import CellProblem, Equilibrium
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import replay, solve
from robustdeq.threats.l2 import L2

_UNIT = L2(Fraction(1))
_CONVERGED = 1e-3  # the deployed tolerance of every mode that has one


@dataclass(frozen=True)
class Start:
    """One image batch, its deployed answers, and what another start z0 makes of them."""

    model: EquilibriumNetwork
    problem: CellProblem
    labels: Int[Tensor, " batch"]

    @classmethod
    def deployed(cls, model: EquilibriumNetwork, x: Float[Tensor, "batch *image"]) -> "Start":
        """From images; the labels are those of the solve from the deployed start, zero."""
        with torch.no_grad():
            problem = model.problem(x)
        return cls(model, problem, model.predict(x).labels)

    def answer(self, z0: Float[Tensor, "batch dim"]) -> tuple[Equilibrium, Tensor]:
        """The deployed solve from z0, and its logits."""
        with torch.no_grad():
            found = solve(self.problem, self.model.solver, warm=z0)
            return found, self.model.readout(found.z)

    def random(self, radius: float, draws: int, noise: NoiseStream) -> Iterator[Tensor]:
        """Points on the sphere of a radius around the deployed start: (B, D), `draws` times."""
        rows = torch.arange(len(self.labels))
        shape = tuple(self.problem.z0.shape[1:])
        for draw in range(draws):
            direction = noise.normal(rows, draw, shape)
            yield self.problem.z0 + radius * _UNIT.steepest(direction)

    def ascent(self, radius: float, steps: int, noise: NoiseStream) -> Iterator[Tensor]:
        """Normalised gradient steps on the margin, projected to the ball, through the solver."""
        centre, z0 = self.problem.z0, next(self.random(radius, 1, noise))
        for _ in range(steps):
            yield z0
            leaf = z0.clone().requires_grad_()
            problem = replace(self.problem, z0=leaf)
            taken = self.answer(z0)[0].returned_at
            logits = self.model.readout(replay(problem, self.model.solver, taken))
            (gradient,) = torch.autograd.grad(-margin(logits, self.labels).sum(), leaf)
            z0 = within(z0 + radius / 4 * _UNIT.steepest(gradient), centre, radius)
        yield z0

    def flips(self, starts: Iterator[Tensor]) -> dict[str, float]:
        """Over several starts of each row, as shares of the rows.

        `flipped`: another label at some start; `settled`: at one whose solve converged;
        `converged`: solves, of all. `moved` is the median over rows of the largest change of a
        logit.
        """
        flipped, settled = torch.zeros(2, len(self.labels), dtype=torch.bool)
        calm, moved, converged = self.answer(self.problem.z0)[1], [], []
        for z0 in starts:
            found, logits = self.answer(z0)
            other, met = logits.argmax(1) != self.labels, found.residual <= _CONVERGED
            flipped, settled = flipped | other, settled | (other & met)
            converged.append(met.double().mean().item())
            moved.append((logits - calm).abs().amax(1))
        return {
            "flipped": flipped.double().mean().item(),
            "settled": settled.double().mean().item(),
            "converged": sum(converged) / len(converged),
            "moved": torch.stack(moved).amax(0).median().item(),
        }


def within(z: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The nearest point of the L2 ball: (B, D)."""
    length = (z - centre).norm(dim=1, keepdim=True)
    return centre + (z - centre) * (radius / length.clamp_min(radius or 1.0))
