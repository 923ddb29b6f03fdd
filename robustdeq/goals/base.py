"""The contract of a goal.

Boards ask goals too, so no file here loads torch when it is imported: what needs it is imported
where it is used.
"""

from abc import ABC
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from robustdeq.errors import SpecError, StoreError
from robustdeq.hints import hint
from robustdeq.progress import Progress
from robustdeq.registry import Plugin

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from robustdeq.data.base import Split
    from robustdeq.evaluation.bench import Bench
    from robustdeq.evaluation.judge import Judge
    from robustdeq.evaluation.outcome import Outcome
    from robustdeq.evaluation.trial import Trial
    from robustdeq.results.page import Page
    from robustdeq.results.store.record import Record
    from robustdeq.results.store.result_store import ResultStore
    from robustdeq.samples import Samples


@dataclass(frozen=True)
class Goal(Plugin, ABC):
    """How a column is attacked, judged, recorded, proven and reported.

    Attributes:
        ranks: whether its figures may count for a rank.
        staged: whether its columns have stages.
        settles: whether an image that is lost leaves the attack; where not, every stage spends its
            whole budget on every image.
        of_solver: whether it needs a solver, whose states are read.
        by_stage: whether what each stage found is kept apart.
        tables: those that say something of a record's other facts; the first one has to be there.
        title: of its page, as `report --of` names it; none where it has no page.
    """

    kind: ClassVar[str] = "goals"
    ranks: ClassVar[bool] = False
    staged: ClassVar[bool] = True
    settles: ClassVar[bool] = False
    of_solver: ClassVar[bool] = False
    by_stage: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ("samples",)
    title: ClassVar[str] = ""

    def seeds(self, column: Mapping[str, Any]) -> list[int]:
        """The attack seeds of a column under which its records have a figure."""
        return list(column["seeds"])

    def run(
        self, trial: "Trial", bench: "Bench", split: "Split", progress: Progress
    ) -> "tuple[Record, dict[str, pa.Table]]":
        """From a loaded entrant to its record: attack, judge and check."""
        from robustdeq.evaluation.evaluate import evaluate

        return evaluate(trial, bench, split, progress)

    def damage(self, judge: "Judge", candidate: "Samples") -> "Tensor":
        """How far one candidate for each of some samples reaches the goal, (B,)."""
        return judge.harm(candidate)

    def more_tables(self, outcome: "Outcome") -> "dict[str, pa.Table]":
        """The tables of a finished trial beside samples and images."""
        return {}

    def contradictions(self, record: "Record", tables: "Mapping[str, pa.Table]") -> Iterator[str]:
        """What cannot be in the goal's own tables, a clause each."""
        return iter(())

    def records(self, store: "ResultStore", protocol: str) -> "list[tuple[str, list[Record]]]":
        """The judged records of a protocol's columns of this goal, by entrant.

        Raises:
            UnknownName: the store has no such protocol.
            StoreError: it has no such column or record.
        """
        goal, resolved = self.plugin_name(), store.protocol(protocol)
        columns = [column for column in resolved.columns if column.get("goal") == goal]
        if not columns:
            raise StoreError(
                f"{protocol} has no column whose goal is {goal!r}, so there is nothing to tell; "
                f"choose with --protocol one that has, such as digits-linf-v2"
            )
        by_chain = defaultdict(list)
        for record in store.scan({"data.digest": resolved.data["digest"], "status": "done"}):
            if record.column in columns:
                by_chain[record.entrant["chain"]].append(record)
        if not by_chain:
            raise StoreError(
                f"{store.root} has no record of {protocol} whose goal is {goal!r}; run "
                f"{hint('run', 'PROTOCOL', '--results', store.root)} with its name or TOML file "
                f"first"
            )
        return sorted(by_chain.items())

    def page(self, store: "ResultStore", protocol: str) -> "Page":
        """What the goal's columns of a protocol have found.

        Raises:
            SpecError: it has no page.
            UnknownName, StoreError: as `records`.
        """
        raise SpecError(f"goal {self.plugin_name()!r} has no page; its figures are on the board")
