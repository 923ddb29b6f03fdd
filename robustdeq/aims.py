"""What evaluations and boards ask of the goal of a column; its contract is `robustdeq.goals`."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

from robustdeq.errors import UnknownName
from robustdeq.kinds import contract
from robustdeq.registry import find


@runtime_checkable
class Aim(Protocol):
    """The part of `robustdeq.goals.base.Goal` that layers below the goals use."""

    ranks: bool
    staged: bool
    settles: bool
    of_solver: bool
    by_stage: bool
    tables: tuple[str, ...]

    def seeds(self, column: Mapping[str, Any]) -> list[int]: ...
    def run(self, trial: Any, bench: Any, split: Any, progress: Any) -> tuple[Any, Any]: ...
    def damage(self, judge: Any, candidate: Any) -> Any: ...
    def more_tables(self, outcome: Any) -> dict[str, Any]: ...
    def contradictions(self, record: Any, tables: Mapping[str, Any]) -> Iterator[str]: ...


def aim(name: str) -> Aim:
    """The goal of a name.

    Raises:
        UnknownName: nothing answers to it; the message offers the nearest name.
    """
    return cast(Aim, find("goals", name)())


def aim_of(column: Mapping[str, Any]) -> Aim:
    """The goal of a column as a record has it.

    Boards need no plug-in: a goal that nothing here answers to ranks nothing, and what its records
    have beside samples is not read.
    """
    try:
        return aim(column.get("goal", "label"))
    except UnknownName:
        return cast(Aim, contract("goals")())
