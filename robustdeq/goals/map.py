"""To read every state on the way: the state map."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from robustdeq.goals.base import Goal
from robustdeq.results.page import Block, Heading, Page, Table, Text
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import to_numpy
from robustdeq.results.text import NONE, per_cent

if TYPE_CHECKING:
    from robustdeq.evaluation.outcome import Outcome


@dataclass(frozen=True)
class Map(Goal):
    """Every stage runs on every image for its whole budget; what each found is read everywhere."""

    of_solver: ClassVar[bool] = True
    by_stage: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("samples", "states")
    title: ClassVar[str] = "state-map"

    def more_tables(self, outcome: "Outcome") -> dict[str, pa.Table]:
        from robustdeq.evaluation.state_map import states_table

        seeds = outcome.trial.column.seeds
        parts = [
            states_table(outcome.inside, outcome.inputs(seed), outcome.samples.labels, seed)
            for seed in seeds
        ]
        return {"states": pa.concat_tables(parts)}

    def contradictions(self, record: Record, tables: Mapping[str, pa.Table]) -> Iterator[str]:
        if "states" not in tables:
            return
        states = tables["states"]
        accuracy = to_numpy(states, "accuracy")
        if not ((accuracy >= 0) & (accuracy <= 1)).all():
            yield f"a state's accuracy is {accuracy.max():g}"
        if (to_numpy(states, "n") != record.n).any():
            yield f"its states are not of the {record.n} images"
        if set(states["attack_seed"].to_pylist()) - set(record.column["seeds"]):
            yield f"its states are not of the column's attack seeds {record.column['seeds']}"

    def page(self, store: ResultStore, protocol: str) -> Page:
        """Accuracy for every view attacked and every state judged, entrant by entrant."""
        blocks: list[Block] = []
        for chain, records in self.records(store, protocol):
            blocks += [Heading(chain, 2), *_maps(store, records)]
        return Page.of(
            Heading(f"State maps on {protocol}"),
            Text(
                "Accuracy in per cent when the state after so many solver steps, or the answer, is "
                "read out; a line for each view that was attacked, with its whole budget and no "
                "regard to the deployed answer. Then the mean entropy of those read-outs, in nats, "
                "and the median relative residual. Means over training seeds."
            ),
            *blocks,
        )


def _maps(store: ResultStore, records: list[Record]) -> list[Table]:
    lines = [line for record in records for line in store.table(record, "states").to_pylist()]
    shown: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("accuracy", "read-out attacked", per_cent),
        ("entropy", "entropy", lambda value: f"{value:.2f}"),
        ("residual", "residual", lambda value: f"{value:.1g}"),
    )
    return [_matrix(lines, *each) for each in shown]


def _matrix(
    lines: list[dict[str, Any]], field: str, title: str, text: Callable[[float], str]
) -> Table:
    found = defaultdict(list)
    for line in lines:
        found[line["attacked"], line["judged"]].append(line[field])

    def cell(view: str, state: int | None) -> str:
        return text(fmean(found[view, state])) if (view, state) in found else NONE

    views = list(dict.fromkeys(line["attacked"] for line in lines))
    states = list(dict.fromkeys(line["judged"] for line in lines))
    header = (title, *("answer" if state is None else f"z_{state}" for state in states))
    rows = tuple((view, *(cell(view, state) for state in states)) for view in views)
    return Table(header, rows, left=(title,))
