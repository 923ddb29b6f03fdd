"""What a solve keeps as it goes: which rows still run, the iterates asked for, and its graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustdeq.equilibrium import Equilibrium
from robustdeq.errors import SpecError


@dataclass
class ActiveRows:
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

    def judge(
        self, number: int, z: Tensor, now: Tensor, lost: Tensor, tol: float, may_stop: bool
    ) -> None:
        """Note the evaluation of iterate `number`, whose residual is `now`; stop who is done.

        Args:
            lost: which rows f has thrown out of reach; their residual is infinite, and they stop.
        """
        self._nfe += self.live
        met = self.live & (now <= tol) if may_stop else torch.zeros_like(self.live)
        better = self.live & (met | (now < self._residual))
        if not may_stop:
            # A fixed depth declares its last iterate; a row that overflows before has none.
            ended = self.live & lost
            z, better = torch.where(ended[:, None], torch.nan, z), better | ended
        if bool((better | self._converged).all()):
            self._z = z  # a converged row's z is its answer already: the whole batch can be kept
        else:
            self._z = torch.where(better[:, None], z, self._z)
        self._residual = torch.where(better, now, self._residual)
        self._step = torch.where(better, number, self._step)
        self._converged = self._converged | met
        self.live = self.live & ~met & ~lost

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

    def finish(self, trace: "Trace") -> Equilibrium:
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


class Trace:
    """The recorded iterates of a solve."""

    def __init__(self, record: Sequence[int]):
        self._record = tuple(record)
        self._kept: dict[int, Tensor] = {}
        if any(number < 0 for number in self._record):
            raise SpecError(f"recorded states {self._record} hold a negative step; count from 0")

    def keep(self, number: int, batch: ActiveRows, z: Tensor) -> None:
        if number in self._record:
            self._kept[number] = batch.states(z)

    def finish(self, answer: Tensor) -> Tensor | None:
        if not self._record:
            return None
        return torch.stack([self._kept.get(number, answer) for number in self._record])


class Path:
    """The iterates of a solve in the graph of its steps, and which rows each of them holds."""

    def __init__(self):
        self._kept: list[tuple[Tensor, Tensor]] = []

    def keep(self, rows: Tensor, z: Tensor) -> None:
        self._kept.append((rows, z))

    def ending(self, steps: Tensor) -> Tensor:
        """(B, D): the iterate of each row at its own step number."""
        rows, states = [], []
        for number in steps.unique().tolist():
            present, z = self._kept[number]
            ended = steps[present] == number
            rows.append(present[ended])
            states.append(z[ended])
        if not rows:
            return self._kept[0][1]
        return torch.cat(states)[torch.cat(rows).argsort()]
