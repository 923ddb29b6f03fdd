"""A Markdown report that sets two or more entrants of a board side by side."""

from collections.abc import Sequence
from itertools import combinations

from robustdeq.errors import SpecError
from robustdeq.results.boards.compare import Paired, compared, named
from robustdeq.results.boards.evidence import gather
from robustdeq.results.boards.leaderboard import Standing, standings_of
from robustdeq.results.boards.statistics import holm
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.formats.markdown import NONE, p_value, per_cent, plain, signed, table
from robustdeq.results.store.record import DEPLOYMENT
from robustdeq.results.store.result_store import ResultStore


def report(store: ResultStore, protocol: str, entrants: Sequence[str]) -> str:
    """Every pair of the entrants compared, then all of them column by column.

    Raises:
        SpecError: fewer than two entrants, or one twice.
        UnknownName: the board has no such entrant, or the store no such protocol.
        StoreError: a record or table is damaged.
    """
    if len(entrants) < 2:
        raise SpecError(f"a report compares at least two entrants, not {list(entrants)}")
    resolved = store.protocol(protocol)
    evidence = gather(store, resolved)
    chosen = [named(evidence, entrant) for entrant in entrants]
    pairs = [compared(a, b) for a, b in combinations(chosen, 2)]
    by_name = {standing.entrant: standing for standing in standings_of(evidence, resolved)}
    standings = [by_name[entrant] for entrant in entrants]
    blocks = [f"# {', '.join(entrants)} on {protocol}", resolved.note, _comparisons(pairs)]
    blocks += [_side_by_side(standings, resolved.ranking_names), _flags(standings)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def verdict(pair: Paired) -> str:
    """The comparison in a sentence: that of the interval and p of this pair alone."""
    p = p_value(pair.p)
    if pair.tied:
        return f"{pair.a} and {pair.b} are tied: the test does not tell them apart ({p})."
    better, worse = (pair.a, pair.b) if pair.difference > 0 else (pair.b, pair.a)
    points = per_cent(abs(pair.difference))
    return f"{better} keeps {points} points more robust accuracy than {worse} ({p})."


def _comparisons(pairs: list[Paired]) -> str:
    adjusted = holm([pair.p for pair in pairs])
    header = [
        "difference",
        "95 % interval",
        "p",
        "p (Holm)",
        "only first",
        "only second",
        "n",
        "seeds",
    ]
    rows = [
        [
            signed(pair.difference),
            f"{signed(pair.interval.low)} to {signed(pair.interval.high)}",
            p_value(pair.p),
            p_value(p),
            f"{pair.only_a:g}",
            f"{pair.only_b:g}",
            str(pair.n),
            str(pair.seeds),
        ]
        for pair, p in zip(pairs, adjusted, strict=True)
    ]
    blocks = []
    for pair, row in zip(pairs, rows, strict=True):
        blocks += [f"## {pair.a} against {pair.b}", verdict(pair), table(header, [row])]
        blocks += [pair.method]
    if len(pairs) > 1:
        blocks += [
            f"Interval, p and verdict are of one test of each pair alone; p (Holm) is adjusted for "
            f"{len(pairs)} comparisons."
        ]
    return "\n\n".join(blocks)


def _side_by_side(standings: list[Standing], columns: list[str]) -> str:
    rows = [
        ["clean", *(per_cent(s.clean) for s in standings)],
        ["robust", *(per_cent(s.robust) for s in standings)],
        ["95 % interval", *(" to ".join(map(per_cent, s.interval)) for s in standings)],
        ["protocol", *(per_cent(s.protocol_robust) for s in standings)],
        ["external worst", *(per_cent(s.external_robust) for s in standings)],
        *([name, *(per_cent(s.columns[name]) for s in standings)] for name in columns),
        ["n", *(str(s.n) for s in standings)],
        ["training seeds", *(str(s.seeds) for s in standings)],
        ["seeds audited", *(str(len(s.audited)) for s in standings)],
        ["complete", *("yes" if s.complete else "no" for s in standings)],
        *([key, *(_deployed(s, key) for s in standings)] for key in DEPLOYMENT),
        *(
            [f"{name}/image", *(f"{s.cost.get(name, 0):.1f}" for s in standings)]
            for name in sorted({name for s in standings for name in s.cost})
        ),
        ["flags", *(", ".join(s.flags) or NONE for s in standings)],
    ]
    header = ["", *(s.entrant for s in standings)]
    return f"## Side by side\n\nAccuracies in per cent.\n\n{table(header, rows, left=('',))}"


def _deployed(standing: Standing, key: str) -> str:
    value = standing.deployment[key]
    return per_cent(value) if key.startswith("converged") else plain(value)


def _flags(standings: list[Standing]) -> str:
    names = in_order(name for standing in standings for name in standing.flags)
    return "\n".join(f"- {find_flag(name)}" for name in names)
