"""An audit as a trial: from a loaded entrant to its record."""

import time
from dataclasses import asdict

import pyarrow as pa

from robustdeq.audits.battery import Report, examine, specs
from robustdeq.data.base import Split
from robustdeq.evaluation.bench import Bench, Guard
from robustdeq.evaluation.trial import Trial
from robustdeq.progress import Progress, unseen
from robustdeq.registry import names
from robustdeq.results.store.record import Record
from robustdeq.results.store.tables import AUDIT


def audit(
    trial: Trial,
    bench: Bench,
    split: Split,
    progress: Progress = unseen,
) -> tuple[Record, dict[str, pa.Table]]:
    """Run the battery on the column's images; nothing is written but the bench's draft.

    The record's `robust` is the accuracy under the white-box union, its table `audit` has a line
    for every figure. Its provenance names every audit, so that an earlier battery can be told.

    Args:
        progress: called with the audits begun so far, and all there are.

    Raises:
        ContractViolation: an audit changed the model's mode or the global random state.
    """
    started, target = time.monotonic(), bench.load()
    guard, begun = Guard(target), []

    def begin(name: str) -> None:
        begun.append(name)
        progress(min(len(begun), total), total, name)

    total = len(names("audits")) + 1
    samples = split.samples().select(trial.column.positions(len(split))).to(bench.device)
    seed = trial.column.seeds[0]
    report = examine(
        bench.load, samples, trial.threat, begin, seed=seed, draft=bench.draft, salt=bench.salt,
        randomised=bench.randomised,
    )  # fmt: skip
    guard.check()
    deployment = asdict(target.classifier.deployment())
    record = Record(
        **bench.setting.identity(bench.described(trial)),
        status="done",
        reason=None,
        n=len(samples),
        clean=report.clean,
        robust=report.robust,
        seeds={str(seed): report.robust},
        flags=tuple(
            {"name": line.flag, "detail": line.detail}
            for line in report.lines
            if line.outcome == "raised"
        ),
        cost={},
        deployment={**deployment, "converged_clean": None, "converged_adversarial": None},
        provenance={**bench.setting.provenance(started), "audits": specs()},
    )
    return record, {"audit": _table(report)}


def _table(report: Report) -> pa.Table:
    rows = [
        {
            "check": f"{line.audit}: {line.flag}" if line.flag else line.audit,
            "index": None,
            "value": line.value,
            "detail": f"{line.outcome}; {line.detail}"
            + (f"; limit {line.limit:.3g}" if line.limit is not None else ""),
        }
        for line in report.lines
    ]
    return pa.Table.from_pylist(rows, schema=AUDIT)
