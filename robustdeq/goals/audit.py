"""To be examined: every audit instead of stages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from robustdeq.goals.base import Goal
from robustdeq.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from robustdeq.data.base import Split
    from robustdeq.evaluation.bench import Bench
    from robustdeq.evaluation.trial import Trial
    from robustdeq.results.store.record import Record

_ROUNDING = 1e-6  # of a figure that is computed again


@dataclass(frozen=True)
class Audit(Goal):
    """A record of it is the evidence that another record's figures may be believed."""

    staged: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ("audit", "samples")

    def seeds(self, column: Mapping[str, Any]) -> list[int]:
        """The first one; the second confirms what an audit raises."""
        return list(column["seeds"][:1])

    def run(
        self, trial: "Trial", bench: "Bench", split: "Split", progress: Progress
    ) -> "tuple[Record, dict[str, pa.Table]]":
        from robustdeq.audits.trial import audit

        return audit(trial, bench, split, progress)

    def contradictions(self, record: "Record", tables: "Mapping[str, pa.Table]") -> Iterator[str]:
        """Its figure is that of its attack seed, its flags are those that its table raises."""
        audit, flags = tables["audit"], {flag["name"] for flag in record.flags}
        if abs(min(record.seeds.values()) - (record.robust or 0.0)) > _ROUNDING:
            stated = min(record.seeds.values())
            yield f"robust is {record.robust}, but its attack seed gives {stated}"
        lines = zip(audit["check"].to_pylist(), audit["detail"].to_pylist(), strict=True)
        raised = {check.partition(": ")[2] for check, text in lines if text.startswith("raised")}
        if not len(audit):
            yield "it is an audit, but its table has not one check"
        if raised != flags:
            yield (
                f"its flags are {', '.join(sorted(flags)) or 'none'}, but its audit raises "
                f"{', '.join(sorted(raised)) or 'none'}"
            )
