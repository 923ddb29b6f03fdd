"""Flags that take several records of the same weights to see."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from robustdeq.results.record import Record
from robustdeq.spec import canonical

_POINT = 0.01  # of robust accuracy, by which the fast mode may lie above the exact one


def cross_flags(records: Iterable[Record]) -> list[str]:
    """The names of the flags that these records raise together."""
    return ["fast-exceeds-exact"] if _fast_exceeds_exact(records) else []


def _fast_exceeds_exact(records: Iterable[Record]) -> bool:
    """Whether any column left more in fast mode than the same column in exact mode."""
    twins = defaultdict(dict)
    for record in records:
        if record.status == "done" and record.column["stages"]:
            column, modes = _without_mode(record.column)
            if len(modes) == 1:
                twins[canonical(column)].setdefault(modes.pop(), record.robust)
    return any(
        pair["fast"] - pair["exact"] > _POINT
        for pair in twins.values()
        if {"fast", "exact"} <= set(pair)
    )


def _without_mode(column: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The column without its name and the mode of its views, and the modes it had."""
    stages, modes = [], set()
    for stage in column["stages"]:
        view = dict(stage.get("surrogate", {"name": "defended"}))
        if view["name"] == "defended":
            modes.add(view.pop("mode", "exact"))
            view.pop("version", None)
        stages.append({**stage, "surrogate": view})
    return {**column, "name": "", "stages": stages}, modes
