"""Warm-started states that are held against cold ones, since a cell may have several equilibria."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.equilibrium import Equilibrium, FixedPointProblem, residual
from robustdeq.models.rows import RowStore
from robustdeq.solvers.base import Solver, solve

_APART = 0.05  # relative distance; answers of one equilibrium stay below 0.02, of two exceed 0.1
_LONGEST = 8  # visits that a row is trusted for


class AnchoredStates:
    """Per-row states that solves start from, for as long as a cold solve finds the same ones.

    The deployed predictor solves from z0. A cell that is no contraction may have more than one
    equilibrium, and a state carried along an attack can then stay on a branch that a cold solve
    never finds: the attack climbs another function than the one that is judged, and loses points of
    accuracy by it (the audit `equilibria` counts such rows).

    So a row's solve is repeated cold after 1, 2, 4 and then every 8 visits, and the cold answer is
    the one returned. A row whose two answers once differed is solved cold from then on. Between
    these visits a solve costs what a warm one costs.
    """

    def __init__(self) -> None:
        self._states = RowStore()
        self._plans = RowStore()  # (visits between two cold solves, visits left); (0, 0): all cold

    def put(self, rows: Int[Tensor, " batch"], z: Float[Tensor, "batch dim"]) -> None:
        """Start the next solves of these rows here."""
        self._states.put(rows, z)

    def put_better(self, rows: Tensor, z: Tensor, scores: Tensor, best: RowStore) -> None:
        """As `put`, for the rows whose score is the highest so far; `best` keeps the scores."""
        self._states.put_better(rows, z, scores, best)

    def parted(self, rows: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Which rows' warm and cold answers have differed."""
        return self._plans.get(rows, torch.ones(len(rows), 2, device=rows.device))[:, 0] == 0

    def solve(self, problem: FixedPointProblem, solver: Solver, rows: Tensor | None) -> Equilibrium:
        """The equilibria of the rows, warm where that is safe; cold where they have no names."""
        if rows is None:
            return solve(problem, solver)
        known = self._states.knows(rows)
        plan = self._plans.get(rows, problem.z0.new_ones(len(rows), 2))
        interval, left = plan[:, 0], plan[:, 1] - 1
        anchor = ~known | (left <= 0)
        both = (anchor & known & (interval > 0)).nonzero()[:, 0]
        stored = self._states.get(rows, problem.z0)
        answer, agree = _cold_and_warm(problem, solver, stored, anchor, both)
        longer = (2 * interval[both]).clamp_max(_LONGEST)
        interval = interval.index_copy(0, both, torch.where(agree, longer, 0.0))
        left = torch.where(anchor, interval, left)
        self._plans.put(rows, torch.stack([interval, left], dim=1))
        return answer


def _cold_and_warm(
    problem: FixedPointProblem, solver: Solver, stored: Tensor, anchor: Tensor, both: Tensor
) -> tuple[Equilibrium, Tensor]:
    """Cold answers for `anchor`, warm for the others; and whether `both` answers agree."""
    start = torch.where(anchor[:, None], problem.z0, stored)
    if not len(both):
        return solve(problem, solver, warm=start), both.bool()
    twice = torch.cat([torch.arange(len(start), device=both.device), both])
    found = solve(problem.select(twice), solver, warm=torch.cat([start, stored[both]]))
    answer = replace(
        found,
        **{
            name: getattr(found, name)[: len(start)]
            for name in ("z", "residual", "nfe", "returned_at", "converged")
        },
    )
    cold, warm = answer.z[both], found.z[len(start) :]
    return answer, residual(warm, cold) <= _APART
