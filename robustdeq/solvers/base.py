"""The contract of a solver, and the one loop that runs all of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.equilibrium import Equilibrium, FixedPointProblem, residual, with_value
from robustdeq.errors import SpecError
from robustdeq.registry import Plugin
from robustdeq.solvers.progress import ActiveRows, Path, Trace

Memory = dict[str, Tensor]  # a solver's history, every entry with the batch first
_LOOSEST = 1e-2  # relative residual; implicit gradients are about as wrong as their state
_COMPACT_BELOW = 0.75  # the live share at which the stopped rows are taken out of the batch


@dataclass(frozen=True)
class Solver(Plugin, ABC):
    """An update rule with a per-row stopping rule: residual <= tol, or max_steps steps.

    Attributes:
        tol: relative residual (see `robustdeq.equilibrium.residual`) at which a row stops.
        max_steps: solver steps at most; a row costs at most max_steps + 1 evaluations, the last of
            which only measures its residual.
    """

    kind: ClassVar[str] = "solvers"
    tol: float = 1e-3
    max_steps: int = 60

    def __post_init__(self):
        if not self.tol >= 0:
            raise SpecError(f"tolerance {self.tol} is negative; expected a relative residual >= 0")
        if self.max_steps < 1:
            raise SpecError(f"max_steps {self.max_steps} leaves nothing to do; expected at least 1")

    @property
    def finds_equilibria(self) -> bool:
        """Whether what it stops at is an equilibrium to speak of, rather than a step on the way.

        An implicit gradient is that of an equilibrium. A fixed depth and a tolerance above 1 % stop
        at something else, whose only gradient is the one through the steps.
        """
        return self.tol <= _LOOSEST

    @property
    def min_steps(self) -> int:
        """Steps before which no row may stop."""
        return 0

    @abstractmethod
    def step(self, number: int, z: Tensor, fz: Tensor, memory: Memory) -> Tensor:
        """The next iterate (B, D) after step `number`, from z and f(z).

        Rows must not mix. `memory` is this solve's own, empty at first; entries are replaced, never
        written into, so that a solve can also be replayed with gradients.
        """


def solve(
    problem: FixedPointProblem,
    solver: Solver,
    record: Sequence[int] = (),
    warm: Float[Tensor, "batch dim"] | None = None,
) -> Equilibrium:
    """Iterate until every row has met the solver's stopping rule or its step limit.

    Each row stops for itself and is never updated again; rows that wait for the next compaction of
    the batch may still be evaluated. A row that meets the rule returns that iterate, any other its
    best one. No gradient is recorded.

    Args:
        record: iterates to keep, by step number (0 is the start).
        warm: start here instead of at `problem.z0`.
    """
    with torch.no_grad():
        return _iterate(problem, solver, problem.z0 if warm is None else warm, Trace(record))


def solve_in_graph(
    problem: FixedPointProblem, solver: Solver, record: Sequence[int] = ()
) -> Equilibrium:
    """The same cold solve, its z in autograd's graph of the steps that led to it.

    Memory grows with the steps. A batch in which a row overflowed is replayed, each row up to the
    state it returned: a zero times an infinity beyond it would be no gradient.
    """
    path = Path()
    answer = _iterate(problem, solver, problem.z0, Trace(record), path)
    overflowed = ~answer.converged & (answer.nfe <= solver.max_steps)
    if bool(overflowed.any()):
        z = replay(problem, solver, answer.returned_at)
    else:
        z = path.ending(answer.returned_at)
    return replace(answer, z=with_value(answer.z, z))


def _iterate(
    problem: FixedPointProblem, solver: Solver, z: Tensor, trace: Trace, path: Path | None = None
) -> Equilibrium:
    """The loop of every solve, from z on; `path` is told every iterate, in the graph."""
    batch = ActiveRows(z.detach())
    memory: Memory = {}
    reach = None
    for number in range(solver.max_steps + 1):
        fz = problem(z)
        state, image = z.detach(), fz.detach()
        reach = _reach(state, image, solver) if reach is None else reach
        lost = ~(image.abs().amax(1) <= reach)
        now = torch.where(lost, torch.inf, residual(state, image))
        batch.judge(number, state, now, lost, solver.tol, number >= solver.min_steps)
        trace.keep(number, batch, state)
        if path is not None:
            path.keep(batch.rows, z)
        live = int(batch.live.sum())
        if number == solver.max_steps or live == 0:
            break
        if live <= _COMPACT_BELOW * len(z):
            keep = batch.compact()
            problem, z, fz, reach = problem.select(keep), z[keep], fz[keep], reach[keep]
            memory = {name: entry[keep] for name, entry in memory.items()}
        following = solver.step(number, z, fz, memory)
        z = following if live == len(z) else torch.where(batch.live[:, None], following, z)
    return batch.finish(trace)


def _reach(z: Tensor, fz: Tensor, solver: Solver) -> Float[Tensor, " batch"]:
    """The largest entry of f(z) that a row may have, by z and f(z) at its start: (B,).

    Beyond it rounding hides where the solve began, and f(z) = z says that a step is lost in the
    last bit, not that a fixed point is found. A solver without a tolerance looks for none.
    """
    limits = torch.finfo(z.dtype)
    largest = torch.maximum(z.abs(), fz.abs()).amax(1)
    reach = largest / limits.eps if solver.tol < math.inf else torch.full_like(largest, limits.max)
    return reach.clamp_max(limits.max)


def replay(
    problem: FixedPointProblem, solver: Solver, steps: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    """The iterates a cold solve returned after `steps` steps, recomputed in autograd's graph."""
    z, memory, path = problem.z0, Memory(), Path()
    rows = torch.arange(len(z), device=z.device)
    for number in range(int(steps.max()) + 1 if len(steps) else 1):
        path.keep(rows, z)
        going = steps[rows] > number
        if not bool(going.all()):
            keep = going.nonzero()[:, 0]
            rows, z, problem = rows[keep], z[keep], problem.select(keep)
            memory = {name: entry[keep] for name, entry in memory.items()}
        if len(rows) == 0:
            break
        z = solver.step(number, z, problem(z), memory)
    return path.ending(steps)
