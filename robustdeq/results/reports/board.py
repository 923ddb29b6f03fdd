"""The page of a board."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

from robustdeq.results.boards.board import Board
from robustdeq.results.boards.compare import Paired
from robustdeq.results.boards.leaderboard import AUDITED_IMAGES, EXTERNAL_GAP, Standing
from robustdeq.results.boards.statistics import holm
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.page import Block, Bullets, Heading, Page, Table, Text
from robustdeq.results.text import NONE, p_value, per_cent, plain, signed, signed_span, span


def board_page(board: Board) -> Page:
    """The board for readers: ranking, controls, columns, deployment and what has to be known."""
    protocol = board.protocol
    plural = "s" if len(protocol.training_seeds) > 1 else ""
    seeds = f"training seed{plural} {', '.join(map(str, protocol.training_seeds))}"
    radius = f"{protocol.threat['name']} radius {protocol.threat['eps']}"
    about = (
        f"{protocol.data['n']} images of {protocol.data['name']}; {radius}; {seeds}. Accuracies in "
        "per cent; `robust` is the accuracy left after the worst attack on each image, with its "
        "95 % interval."
    )
    tables = _tables(board) if board.standings else [Text("No entrant has a record yet.")]
    return Page.of(
        Heading(protocol.name),
        Text(protocol.note),
        Text(about),
        *tables,
        Bullets(tuple(_footnotes(board))),
    )


def _tables(board: Board) -> Iterator[Block]:
    yield _ranking(board.standings)
    yield from _controls(board.controlled)
    yield Heading("Columns", 2)
    yield Text(
        "Accuracy after each attack alone, (n) where it judged another number of images; - where "
        "it was refused or is not recorded."
    )
    names = {name: partial(_column, name=name) for name in board.protocol.ranking_names}
    yield Table.of(board.standings, {"entrant": _entrant, **names}, left=("entrant",))
    yield Heading("Deployment and cost", 2)
    yield Text(
        "The model as judged, the lowest share of its rows that converged, and the counted work "
        "of all columns per image."
    )
    yield _deployment(board.standings)


def _ranking(standings: list[Standing]) -> Table:
    shared = Counter(s.rank for s in standings)
    columns: dict[str, Callable[[Standing], str]] = {
        "rank": lambda s: (
            NONE if s.rank is None else f"{s.rank}{'=' if shared[s.rank] > 1 else ''}"
        ),
        "entrant": _entrant,
        "clean": lambda s: per_cent(s.clean),
        "robust": _robust,
        "95 % interval": lambda s: span(*s.interval),
        "protocol": lambda s: per_cent(s.protocol_robust),
        "external worst": lambda s: per_cent(s.external_robust),
        "weakest column": lambda s: s.weakest,
        "n": lambda s: str(s.n),
        "seeds": lambda s: str(s.seeds),
        "audited": _audited,
        "flags": lambda s: ", ".join(s.flags) or NONE,
    }
    return Table.of(standings, columns, left=("entrant", "weakest column", "audited", "flags"))


def _controls(controlled: list[Paired]) -> Iterator[Block]:
    if not controlled:
        return
    adjusted = holm([pair.p for pair in controlled])
    yield Heading("Against their controls", 2)
    yield Text(
        "Points of robust accuracy that a row keeps beyond its control, on the images judged for "
        "both and under the attacks that both have faced: beyond the same weights without what its "
        "inference does, or beyond the training that it alone may be ranked against. Interval, p "
        "and verdict are of one test of this pair alone; the last p is adjusted over the table "
        "(Holm)."
    )
    tested = list(zip(controlled, adjusted, strict=True))
    yield Table.of(tested, _AGAINST, left=("entrant", "control", "verdict"))


_AGAINST: Mapping[str, Callable[[tuple[Paired, float]], str]] = MappingProxyType(
    {
        "entrant": lambda tested: tested[0].a,
        "control": lambda tested: tested[0].b,
        "difference": lambda tested: signed(tested[0].difference),
        "95 % interval": lambda tested: signed_span(*tested[0].interval),
        "p": lambda tested: p_value(tested[0].p),
        "verdict": lambda tested: tested[0].verdict,
        "p (Holm)": lambda tested: p_value(tested[1]),
        "n": lambda tested: str(tested[0].n),
        "seeds": lambda tested: str(tested[0].seeds),
    }
)


def _deployment(standings: list[Standing]) -> Table:
    costs = sorted({name for s in standings for name in s.cost})
    columns: dict[str, Callable[[Standing], str]] = {
        "entrant": _entrant,
        "solver": lambda s: plain(s.deployment["solver"]),
        "tolerance": lambda s: plain(s.deployment["tolerance"]),
        "budget": lambda s: plain(s.deployment["budget"]),
        "converged clean": lambda s: per_cent(s.deployment["converged_clean"]),
        "converged adversarial": lambda s: per_cent(s.deployment["converged_adversarial"]),
        **{f"{name}/image": partial(_cost, name=name) for name in costs},
    }
    return Table.of(standings, columns, left=("entrant", "solver"))


def _entrant(standing: Standing) -> str:
    return standing.entrant


def _robust(standing: Standing) -> str:
    bound = "at most " if standing.blocked else ""
    provisional = "" if standing.complete else " provisional"
    return f"{bound}{per_cent(standing.robust)}{provisional}"


def _audited(standing: Standing) -> str:
    """Whether all training seeds have been audited, which a rank needs."""
    if len(standing.audited) == standing.seeds:
        return "yes"
    return f"not audited ({len(standing.audited)} of {standing.seeds})"


def _column(standing: Standing, name: str) -> str:
    n = standing.column_n.get(name, standing.n)
    return per_cent(standing.columns[name]) + (f" ({n})" if n != standing.n else "")


def _cost(standing: Standing, name: str) -> str:
    return f"{standing.cost[name]:.1f}" if name in standing.cost else NONE


def _footnotes(board: Board) -> list[str]:
    """What the reader of the tables has to know; only what applies to this board."""
    standings = board.standings
    notes = []
    if standings and all(s.rank is None for s in standings):
        notes.append("No row is ranked: a rank needs three training seeds and a complete row.")
    elif len({s.rank for s in standings}) < len(standings):
        notes.append(
            "Rows that share a rank (=) are tied: no test tells them apart "
            "(Holm-adjusted over all pairs, p < .05)."
        )
    if any(len(s.audited) < s.seeds for s in standings):
        notes.append(
            f"not audited: a rank needs an audit of the weights of every training seed, on "
            f"{AUDITED_IMAGES} images or more (`robustdeq audit`); in brackets how many have one."
        )
    if not all(s.complete for s in standings):
        notes.append("provisional: a required column or training seed has not been recorded.")
    if board.alone:
        notes.append(f"{', '.join(board.alone)}: ranks against its control alone.")
    if any(s.protocol_robust - s.robust > EXTERNAL_GAP for s in standings):
        notes.append(
            "A row whose external worst is more than 2 points below its protocol figure has no "
            "rank until that attack has been run on all rows."
        )
    notes += [str(find_flag(name)) for name in in_order(f for s in standings for f in s.flags)]
    return notes + board.withdrawn
