"""The leaderboard: one computed line for each defense chain and recipe."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from robustdeq.results.boards.cross_flags import cross_flags
from robustdeq.results.boards.evidence import Evidence, Member, gather, side_by_side
from robustdeq.results.boards.statistics import (
    Difference,
    Interval,
    defense_interval,
    difference_of_defenses,
    holm,
)
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.results.store.record import DEPLOYMENT
from robustdeq.results.store.result_store import ResultStore

RANKED_SEEDS = 3
AUDITED_IMAGES = 25  # the fewest that an audit behind a rank has looked at
EXTERNAL_GAP = 0.02  # a row further below its protocol figure than this loses its rank
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Standing:
    """One line of the board. Accuracies are fractions, means over the `seeds` training seeds.

    robust: the lower of `protocol_robust` (worst case over the required columns) and
        `external_robust` (with every further record as well; None without one).
    interval: 95 %, for `robust`.
    rank: None where the row may not be ranked.
    weakest: the required column with the lowest accuracy.
    audited: the training seeds whose weights have an audit on `AUDITED_IMAGES` or more; with fewer
        than all of them there is no rank.
    complete: whether every required column and seed is there; else the figures are provisional.
    columns, column_n: accuracy (None if missing or refused) and number of images of each column.
    cost: work per image, summed over the required columns.
    deployment: solver, tolerance and budget of the model as judged, and the lowest share of
        converged rows, clean and adversarial, over the required columns.
    """

    entrant: str
    defense: str
    base: str | None
    clean: float
    robust: float
    protocol_robust: float
    external_robust: float | None
    interval: Interval
    n: int
    seeds: int
    rank: int | None
    weakest: str
    complete: bool
    audited: list[int]
    flags: list[str]
    columns: dict[str, float | None]
    column_n: dict[str, int]
    cost: dict[str, float]
    deployment: dict[str, Any]

    @property
    def blocked(self) -> bool:
        """Whether a flag makes `robust` an upper bound only."""
        return any(find_flag(name).blocking for name in self.flags)


def leaderboard(store: ResultStore, protocol: str) -> list[Standing]:
    """The standings of a protocol, best first, computed from the records alone.

    A rank needs three training seeds, an audit of each of them, every required column, and no
    blocking flag. Ranked rows come first, then complete rows without a rank, then provisional ones,
    then those with a blocking flag. Row A beats row B only at Holm-adjusted two-sided p < .05 over
    all pairs of ranked rows; a rank is one more than the number of rows that beat it. A row that
    declares a control is compared with that alone (`robustdeq.results.boards.controls`).

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: a record or table is damaged.
    """
    resolved = store.protocol(protocol)
    return standings_of(gather(store, resolved), resolved)


def standings_of(evidence: list[Evidence], protocol: ResolvedProtocol) -> list[Standing]:
    """The standings of evidence already gathered, best first."""
    standings = [_standing(item, protocol) for item in evidence]
    contenders = [
        i
        for i, row in enumerate(standings)
        if evidence[i].ranks_against is None and _may_rank(row, protocol)
    ]
    ranks = _ranks([evidence[i] for i in contenders])
    for i, rank in zip(contenders, ranks, strict=True):
        standings[i] = replace(standings[i], rank=rank)
    return sorted(standings, key=_place)


def paired_test(a: Evidence, b: Evidence) -> Difference:
    """Test the figures of two defenses under the same attacks, on the images judged for both."""
    return difference_of_defenses(*side_by_side(a, b), share_weights(a, b))


def share_weights(a: Evidence, b: Evidence) -> bool:
    """Whether the two were trained once for both, as an inference defense and its base are."""
    return a.checkpoints == b.checkpoints


def _standing(evidence: Evidence, protocol: ResolvedProtocol) -> Standing:
    known, members = evidence.known(), evidence.members
    defense, _, base = evidence.chain.partition("/")
    accuracies = {
        name: [float(np.nanmean(m.columns[name])) for m in members if name in m.columns]
        for name in dict.fromkeys(
            [*protocol.ranking_names, *(n for m in members for n in m.columns)]
        )
    }
    means = {name: float(np.mean(each)) for name, each in accuracies.items() if each}
    return Standing(
        entrant=evidence.entrant,
        defense=defense,
        base=base or None,
        clean=float(evidence.clean().mean()),
        robust=float(known.mean()),
        protocol_robust=float(evidence.protocol().mean()),
        external_robust=float(known.mean()) if any(m.further for m in members) else None,
        interval=defense_interval(known),
        n=known.shape[1],
        seeds=len(members),
        rank=None,
        weakest=min(means, key=means.__getitem__),
        complete=evidence.complete,
        audited=[m.seed for m in members if _is_audited(m, protocol)],
        flags=_flags(members),
        # A column that one seed lacks has no figure for the defense.
        columns={
            name: means[name] if len(each) == len(members) else None
            for name, each in accuracies.items()
        },
        column_n={
            name: min(m.required[name].n for m in members if name in m.columns) for name in means
        },
        cost=_cost(members),
        deployment=_deployment(members),
    )


def _flags(members: tuple[Member, ...]) -> list[str]:
    names = {flag["name"] for m in members for record in m.records for flag in record.flags}
    names.update(flag for m in members for flag in cross_flags(m))
    if any(member.reweighted for member in members):
        names.add("checkpoint-changed")
    return in_order(names)


def _is_audited(member: Member, protocol: ResolvedProtocol) -> bool:
    enough = min(AUDITED_IMAGES, protocol.data["n"])
    return any(audit.status == "done" and audit.n >= enough for audit in member.audits)


def _cost(members: tuple[Member, ...]) -> dict[str, float]:
    total = Counter()
    for member in members:
        for record in member.required.values():
            total.update(record.cost)
    return {name: total[name] / len(members) for name in sorted(total)}


def _deployment(members: tuple[Member, ...]) -> dict[str, Any]:
    seen = [m.required[name].deployment for m in members for name in m.columns]
    deployment = {key: seen[0][key] for key in DEPLOYMENT}
    for key in ("converged_clean", "converged_adversarial"):
        shares = [each[key] for each in seen if each[key] is not None]
        deployment[key] = min(shares, default=None)
    return deployment


def _may_rank(standing: Standing, protocol: ResolvedProtocol) -> bool:
    return (
        standing.seeds >= RANKED_SEEDS
        and standing.complete
        and not standing.blocked
        and len(standing.audited) == standing.seeds
        and standing.n == protocol.data["n"]
        and standing.protocol_robust - standing.robust <= EXTERNAL_GAP
    )


def _ranks(contenders: list[Evidence]) -> list[int]:
    pairs = list(combinations(range(len(contenders)), 2))
    tests = [paired_test(contenders[i], contenders[j]) for i, j in pairs]
    beaten = Counter()
    for (i, j), test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        if p < SIGNIFICANCE:
            beaten[j if test.estimate > 0 else i] += 1
    return [1 + beaten[i] for i in range(len(contenders))]


def _place(standing: Standing) -> tuple:
    group = (standing.blocked, not standing.complete, standing.rank is None)
    return (*group, standing.rank or 0, -standing.robust, standing.entrant)
