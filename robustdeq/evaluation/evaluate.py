"""One trial, from a loaded entrant to its record."""

import time

from robustdeq.data.base import Split
from robustdeq.evaluation.bench import Bench, Setting, refused, settled
from robustdeq.evaluation.described import Described
from robustdeq.evaluation.outcome import Copies, Outcome, Tables
from robustdeq.evaluation.refusal import refusal
from robustdeq.evaluation.remote import Model, ask, derived
from robustdeq.evaluation.trial import Trial
from robustdeq.progress import Progress, unseen
from robustdeq.results.store.record import Record
from robustdeq.surroundings import own_surroundings


def evaluate(
    trial: Trial, bench: Bench, split: Split, progress: Progress = unseen
) -> tuple[Record, Tables]:
    """Attack, judge and check; nothing is written.

    Raises:
        ContractViolation: an attack left its threat set, or something changed the model's mode or
            the global random state.
    """

    def sources() -> tuple[Model, ...]:
        return tuple(bench.source(entrant).load() for entrant in trial.sources)

    copies = Copies(bench.load, sources)
    return evaluated(bench.described(trial), copies, bench.setting, split, progress)


@own_surroundings()
def evaluated(
    trial: Described, copies: Copies, setting: Setting, split: Split, progress: Progress
) -> tuple[Record, Tables]:
    """As `evaluate`, wherever the models live."""
    started = time.monotonic()
    target = derived(copies.load(), settled)
    if (reason := ask(target, refusal, trial.column)) is not None:
        return refused(trial, setting, target, reason, started), {}
    outcome = Outcome(trial, copies, setting, target, split, progress)
    record, tables = outcome.record(started)
    outcome.check_untouched()
    return record, tables
