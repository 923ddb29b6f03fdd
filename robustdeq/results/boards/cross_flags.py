"""Flags that take several records of the same weights to see."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from robustdeq.results.boards.evidence import Member
from robustdeq.results.boards.statistics import mcnemar, wilson
from robustdeq.results.store.record import Record
from robustdeq.spec import canonical

_POINT = 0.01  # of robust accuracy, the smallest difference that is read off a board
_ABOVE = 0.02  # of clean accuracy beyond the share of the largest class
_CHANCE = 0.01  # the p value up to which a difference is no chance


def cross_flags(member: Member) -> list[str]:
    """The names of the flags that the records of these weights raise together."""
    raised = {
        "fast-exceeds-exact": _fast_exceeds_exact(member.records),
        "transfer-beats-white-box": _transfer_beats_white_box(member),
        "not-trained": _not_trained(member),
    }
    return [name for name, up in raised.items() if up]


def _not_trained(member: Member) -> bool:
    """Whether the 95 % interval of clean accuracy reaches down to the share of the largest class.

    Two points above it are no training yet: a network that has collapsed on one class answers a
    few images of another. An interval, since on few images anything may be luck.
    """
    right = member.clean[np.isfinite(member.clean)]
    return wilson(int(right.sum()), len(right)).low <= member.largest + _ABOVE


def _transfer_beats_white_box(member: Member) -> bool:
    """Whether transferred inputs add more to the other columns than any of these adds to the rest.

    What one column adds is the measure of how far the others are from done; a surplus of a point,
    where the exact paired test rules chance out, says that gradients of this network hide something
    that gradients of others show.
    """
    broken = {name: verdicts == 0 for name, verdicts in member.columns.items()}
    transferred = {name for name in broken if member.required[name].sources}
    own = [found for name, found in broken.items() if name not in transferred]
    if not transferred or not own:
        return False
    found, times = np.any([broken[name] for name in transferred], axis=0), np.sum(own, axis=0)
    only_transferred = int((found & (times == 0)).sum())
    most = max(int((column & (times == 1)).sum()) for column in own)
    judged = int(np.isfinite(member.protocol).sum())
    surplus = (only_transferred - most) / judged
    return surplus >= _POINT and mcnemar(only_transferred, most) <= _CHANCE


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
