"""Boards as data for programs."""

import csv
import dataclasses
import io
import json
from typing import Any

from robustdeq.results.boards.board import Board

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
