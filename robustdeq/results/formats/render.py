"""Boards as text: one board, one text, byte for byte."""

import csv
import dataclasses
import io
import json
from collections import Counter
from types import MappingProxyType
from typing import Any

from robustdeq.results.boards.board import Board
from robustdeq.results.boards.leaderboard import (
    AUDITED_IMAGES,
    EXTERNAL_GAP,
    Standing,
)
from robustdeq.results.boards.statistics import holm
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.formats.markdown import NONE, p_value, per_cent, plain, signed, table

# Beyond this the last bits of another platform's arithmetic would show.
_DIGITS = 6


def to_json(board: Board) -> str:
    """The board as data: accuracies are fractions, what there is none of is null."""
    rows = [_rounded(dataclasses.asdict(standing)) for standing in board.standings]
    controlled = [_rounded(dataclasses.asdict(pair)) for pair in board.controlled]
    content = {"protocol": board.protocol.name, "standings": rows, "controlled": controlled}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_csv(board: Board) -> str:
    """The board as one flat table; tables of a standing become columns like "cost.forward"."""
    rows = [_flat(_rounded(dataclasses.asdict(standing))) for standing in board.standings]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_markdown(board: Board) -> str:
    """The board for readers, aligned so that it reads in a terminal as well."""
    protocol = board.protocol
    plural = "s" if len(protocol.training_seeds) > 1 else ""
    seeds = f"training seed{plural} {', '.join(map(str, protocol.training_seeds))}"
    radius = f"{protocol.threat['name']} radius {protocol.threat['eps']}"
    blocks = [f"# {protocol.name}"]
    blocks += [protocol.note] if protocol.note else []
    blocks += [
        f"{protocol.data['n']} images of {protocol.data['name']}; {radius}; {seeds}. Accuracies in "
        "per cent; `robust` is the accuracy left after the worst attack on each image, with its "
        "95 % interval."
    ]
    blocks += _tables(board) if board.standings else ["No entrant has a record yet."]
    blocks += ["\n".join(f"- {note}" for note in notes)] if (notes := _footnotes(board)) else []
    return "\n\n".join(blocks) + "\n"


FORMATS = MappingProxyType({"md": to_markdown, "csv": to_csv, "json": to_json})


def _tables(board: Board) -> list[str]:
    return [
        _ranking(board),
        *_controls(board),
        "## Columns",
        "Accuracy after each attack alone, (n) where it judged another number of images; - where "
        "it was refused or is not recorded.",
        _columns(board),
        "## Deployment and cost",
        "The model as judged, the lowest share of its rows that converged, and the counted work "
        "of all columns per image.",
        _deployment(board),
    ]


def _ranking(board: Board) -> str:
    shared = Counter(s.rank for s in board.standings)
    header = ["rank", "entrant", "clean", "robust", "95 % interval", "protocol", "external worst"]
    header += ["weakest column", "n", "seeds", "audited", "flags"]
    rows = [
        [
            NONE if s.rank is None else f"{s.rank}{'=' if shared[s.rank] > 1 else ''}",
            s.entrant,
            per_cent(s.clean),
            _robust(s),
            f"{per_cent(s.interval[0])} to {per_cent(s.interval[1])}",
            per_cent(s.protocol_robust),
            per_cent(s.external_robust),
            s.weakest,
            str(s.n),
            str(s.seeds),
            _audited(s),
            ", ".join(s.flags) or NONE,
        ]
        for s in board.standings
    ]
    return table(header, rows, left=("entrant", "weakest column", "audited", "flags"))


def _audited(standing: Standing) -> str:
    """Whether all training seeds have been audited, which a rank needs."""
    if len(standing.audited) == standing.seeds:
        return "yes"
    return f"not audited ({len(standing.audited)} of {standing.seeds})"


def _controls(board: Board) -> list[str]:
    if not board.controlled:
        return []
    header = ["entrant", "control", "difference", "95 % interval", "p", "verdict"]
    header += ["p (Holm)", "n", "seeds"]
    adjusted = holm([pair.p for pair in board.controlled])
    rows = [
        [
            pair.a,
            pair.b,
            signed(pair.difference),
            f"{signed(pair.interval.low)} to {signed(pair.interval.high)}",
            p_value(pair.p),
            pair.verdict,
            p_value(p),
            str(pair.n),
            str(pair.seeds),
        ]
        for pair, p in zip(board.controlled, adjusted, strict=True)
    ]
    return [
        "## Against their controls",
        "Points of robust accuracy that a row keeps beyond its control, on the images judged for "
        "both and under the attacks that both have faced: beyond the same weights without what its "
        "inference does, or beyond the training that it alone may be ranked against. Interval, p "
        "and verdict are of one test of this pair alone; the last p is adjusted over the table "
        "(Holm).",
        table(header, rows, left=("entrant", "control", "verdict")),
    ]


def _robust(standing: Standing) -> str:
    bound = "at most " if standing.blocked else ""
    provisional = "" if standing.complete else " provisional"
    return f"{bound}{per_cent(standing.robust)}{provisional}"


def _columns(board: Board) -> str:
    names = board.protocol.ranking_names
    rows = [[s.entrant, *(_column(s, name) for name in names)] for s in board.standings]
    return table(["entrant", *names], rows, left=("entrant",))


def _column(standing: Standing, name: str) -> str:
    n = standing.column_n.get(name, standing.n)
    return per_cent(standing.columns[name]) + (f" ({n})" if n != standing.n else "")


def _deployment(board: Board) -> str:
    costs = sorted({name for s in board.standings for name in s.cost})
    header = ["entrant", "solver", "tolerance", "budget", "converged clean"]
    header += ["converged adversarial", *(f"{name}/image" for name in costs)]
    rows = [
        [
            s.entrant,
            plain(s.deployment["solver"]),
            plain(s.deployment["tolerance"]),
            plain(s.deployment["budget"]),
            per_cent(s.deployment["converged_clean"]),
            per_cent(s.deployment["converged_adversarial"]),
            *(f"{s.cost[name]:.1f}" if name in s.cost else NONE for name in costs),
        ]
        for s in board.standings
    ]
    return table(header, rows, left=("entrant", "solver"))


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


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {}
    for key, value in row.items():
        if key == "interval":
            flat["interval_low"], flat["interval_high"] = value
        elif isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        elif isinstance(value, list):
            flat[key] = " ".join(map(str, value))
        else:
            flat[key] = value
    return flat
