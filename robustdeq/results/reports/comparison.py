"""The page that sets two or more entrants of a board side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from types import MappingProxyType

from robustdeq.errors import SpecError
from robustdeq.results.boards.compare import Paired, compared, named
from robustdeq.results.boards.evidence import gather
from robustdeq.results.boards.leaderboard import Standing, standings_of
from robustdeq.results.boards.statistics import holm
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.page import Block, Bullets, Heading, Page, Table, Text
from robustdeq.results.store.record import DEPLOYMENT
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import NONE, p_value, per_cent, plain, signed, signed_span, span


def report(store: ResultStore, protocol: str, entrants: Sequence[str]) -> Page:
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
    flags = in_order(name for standing in standings for name in standing.flags)
    return Page.of(
        Heading(f"{', '.join(entrants)} on {protocol}"),
        Text(resolved.note),
        *_comparisons(pairs),
        Heading("Side by side", 2),
        Text("Accuracies in per cent."),
        _side_by_side(standings, resolved.ranking_names),
        Bullets(tuple(str(find_flag(name)) for name in flags)),
    )


def verdict(pair: Paired) -> str:
    """The comparison in a sentence: that of the interval and p of this pair alone."""
    p = p_value(pair.p)
    if pair.tied:
        return f"{pair.a} and {pair.b} are tied: the test does not tell them apart ({p})."
    better, worse = (pair.a, pair.b) if pair.difference > 0 else (pair.b, pair.a)
    points = per_cent(abs(pair.difference))
    return f"{better} keeps {points} points more robust accuracy than {worse} ({p})."


def _comparisons(pairs: list[Paired]) -> Iterator[Block]:
    adjusted = holm([pair.p for pair in pairs])
    for pair, p in zip(pairs, adjusted, strict=True):
        yield Heading(f"{pair.a} against {pair.b}", 2)
        yield Text(verdict(pair))
        yield Table.of([(pair, p)], _PAIR)
        yield Text(pair.method)
    if len(pairs) > 1:
        yield Text(
            f"Interval, p and verdict are of one test of each pair alone; p (Holm) is adjusted for "
            f"{len(pairs)} comparisons."
        )


_PAIR: Mapping[str, Callable[[tuple[Paired, float]], str]] = MappingProxyType(
    {
        "difference": lambda tested: signed(tested[0].difference),
        "95 % interval": lambda tested: signed_span(*tested[0].interval),
        "p": lambda tested: p_value(tested[0].p),
        "p (Holm)": lambda tested: p_value(tested[1]),
        "only first": lambda tested: f"{tested[0].only_a:g}",
        "only second": lambda tested: f"{tested[0].only_b:g}",
        "n": lambda tested: str(tested[0].n),
        "seeds": lambda tested: str(tested[0].seeds),
    }
)


def _side_by_side(standings: list[Standing], columns: list[str]) -> Table:
    """A line for each fact, a column for each entrant."""
    facts: dict[str, Callable[[Standing], str]] = {
        "clean": lambda s: per_cent(s.clean),
        "robust": lambda s: per_cent(s.robust),
        "95 % interval": lambda s: span(*s.interval),
        "protocol": lambda s: per_cent(s.protocol_robust),
        "external worst": lambda s: per_cent(s.external_robust),
        **{name: partial(_column, name=name) for name in columns},
        "n": lambda s: str(s.n),
        "training seeds": lambda s: str(s.seeds),
        "seeds audited": lambda s: str(len(s.audited)),
        "complete": lambda s: "yes" if s.complete else "no",
        **{key: partial(_deployed, key=key) for key in DEPLOYMENT},
        **{f"{name}/image": partial(_cost, name=name) for name in _costs(standings)},
        "flags": lambda s: ", ".join(s.flags) or NONE,
    }
    rows = tuple((name, *map(fact, standings)) for name, fact in facts.items())
    return Table(("", *(s.entrant for s in standings)), rows, left=("",))


def _column(standing: Standing, name: str) -> str:
    return per_cent(standing.columns[name])


def _deployed(standing: Standing, key: str) -> str:
    value = standing.deployment[key]
    return per_cent(value) if key.startswith("converged") else plain(value)


def _costs(standings: list[Standing]) -> list[str]:
    return sorted({name for s in standings for name in s.cost})


def _cost(standing: Standing, name: str) -> str:
    return f"{standing.cost.get(name, 0):.1f}"
