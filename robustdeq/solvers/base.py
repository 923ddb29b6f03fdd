"""The contract of a solver, and the one loop that runs all of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.equilibrium import Equilibrium, FixedPointProblem, residual
from robustdeq.errors import SpecError
from robustdeq.registry import Plugin

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
        z = problem.z0 if warm is None else warm
        batch = _ActiveRows(z)
        trace = _Trace(record, z)
        memory: Memory = {}
        for number in range(solver.max_steps + 1):
            fz = problem(z)
            batch.judge(number, z, residual(z, fz), solver)
            trace.keep(number, batch, z)
            live = int(batch.live.sum())
            if number == solver.max_steps or live == 0:
                break
            if live <= _COMPACT_BELOW * len(z):
                keep = batch.compact()
                problem, z, fz = problem.select(keep), z[keep], fz[keep]
                memory = {name: entry[keep] for name, entry in memory.items()}
            following = solver.step(number, z, fz, memory)
            z = following if live == len(z) else torch.where(batch.live[:, None], following, z)
        return batch.finish(trace)


def replay(
    problem: FixedPointProblem, solver: Solver, steps: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    """The iterates a cold solve returned after `steps` steps, recomputed in autograd's graph."""
    z, memory = problem.z0, Memory()
    rows = torch.arange(len(z), device=z.device)
    done_rows, done_z = [], []
    for number in range(int(steps.max()) + 1 if len(steps) else 0):
        finished = steps[rows] <= number
        if bool(finished.any()):
            done_rows.append(rows[finished])
            done_z.append(z[finished])
            keep = (~finished).nonzero()[:, 0]
            rows, z, problem = rows[keep], z[keep], problem.select(keep)
            memory = {name: entry[keep] for name, entry in memory.items()}
        if len(rows) == 0:
            break
        z = solver.step(number, z, problem(z), memory)
    order = torch.cat(done_rows).argsort() if done_rows else rows
    return torch.cat(done_z)[order] if done_z else z


@dataclass
class _ActiveRows:
    """Which rows still run, and the best each row has seen, in the compacted batch's order."""

    start: Tensor
    rows: Tensor = field(init=False)
    live: Tensor = field(init=False)

    def __post_init__(self):
        batch, device = len(self.start), self.start.device
        self.rows = torch.arange(batch, device=device)
        self.live = torch.ones(batch, dtype=torch.bool, device=device)
        self._z = self.start
        self._residual = torch.full((batch,), torch.inf, dtype=self.start.dtype, device=device)
        self._nfe = torch.zeros(batch, dtype=torch.int64, device=device)
        self._step = torch.zeros_like(self._nfe)
        self._converged = torch.zeros_like(self.live)
        self._answer: Equilibrium | None = None

    def judge(self, number: int, z: Tensor, now: Tensor, solver: Solver) -> None:
        """Note an evaluation of z (iterate `number`) and stop the rows that are done."""
        self._nfe += self.live
        may_stop, bounded = number >= solver.min_steps, now < torch.inf
        met = self.live & (now <= solver.tol) if may_stop else torch.zeros_like(self.live)
        better = self.live & (met | (now < self._residual))
        if not may_stop:
            # A fixed depth declares its last iterate; a row that overflows before has none.
            lost = self.live & ~bounded
            z, better = torch.where(lost[:, None], torch.nan, z), better | lost
        if bool((better | self._converged).all()):
            self._z = z  # a converged row's z is its answer already: the whole batch can be kept
        else:
            self._z = torch.where(better[:, None], z, self._z)
        self._residual = torch.where(better, now, self._residual)
        self._step = torch.where(better, number, self._step)
        self._converged = self._converged | met
        self.live = self.live & ~met & bounded

    def compact(self) -> Tensor:
        """Put the answers of the stopped rows away; returns the positions of the others."""
        self._store()
        keep = self.live.nonzero()[:, 0]
        self.rows, self.live, self._z = self.rows[keep], self.live[keep], self._z[keep]
        self._residual, self._nfe = self._residual[keep], self._nfe[keep]
        self._step, self._converged = self._step[keep], self._converged[keep]
        return keep

    def states(self, z: Tensor) -> Tensor:
        """Every row's present iterate, stopped rows included."""
        if self._answer is None:
            return torch.where(self.live[:, None], z, self._z)
        full = self._answer.z.clone()
        full[self.rows] = torch.where(self.live[:, None], z, self._z)
        return full

    def finish(self, trace: "_Trace") -> Equilibrium:
        if self._answer is None:
            answer = self._present()
        else:
            self._store()
            answer = self._answer
        return Equilibrium(
            answer.z, answer.residual, answer.nfe, answer.returned_at, answer.converged,
            trace.finish(answer.z),
        )  # fmt: skip

    def _present(self) -> Equilibrium:
        return Equilibrium(self._z, self._residual, self._nfe, self._step, self._converged)

    def _store(self) -> None:
        now = self._present()
        if self._answer is None:
            self._answer = Equilibrium(
                now.z.clone(), now.residual.clone(), now.nfe.clone(),
                now.returned_at.clone(), now.converged.clone(),
            )  # fmt: skip
            return
        for name in ("z", "residual", "nfe", "returned_at", "converged"):
            getattr(self._answer, name)[self.rows] = getattr(now, name)


class _Trace:
    """The recorded iterates of a solve."""

    def __init__(self, record: Sequence[int], z: Tensor):
        self._record = tuple(record)
        self._kept: dict[int, Tensor] = {}
        if any(number < 0 for number in self._record):
            raise SpecError(f"recorded states {self._record} hold a negative step; count from 0")

    def keep(self, number: int, batch: _ActiveRows, z: Tensor) -> None:
        if number in self._record:
            self._kept[number] = batch.states(z)

    def finish(self, answer: Tensor) -> Tensor | None:
        if not self._record:
            return None
        return torch.stack([self._kept.get(number, answer) for number in self._record])
