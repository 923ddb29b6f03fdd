"""One row of a matrix: an entrant and every column of a protocol, as jobs that can be killed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import torch
from tqdm import tqdm

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.engines.outcome import Outcome, bar_line, failed, say
from robustdeq.engines.pools import Job, guests, watched
from robustdeq.engines.training import loaded
from robustdeq.entrant import Entrant
from robustdeq.errors import AlreadyStored, CheckpointError, StoreError
from robustdeq.evaluation.adaptive import derived_columns
from robustdeq.evaluation.bench import Bench, fresh_salt
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.trial import Trial
from robustdeq.results.draft import Draft
from robustdeq.results.record import Record
from robustdeq.results.store import ResultStore
from robustdeq.training.central import build
from robustdeq.training.loops.base import check
from robustdeq.training.trained import find_trained, require_digest, require_same
from robustdeq.workbench import run_trial, trained_bench


@dataclass(frozen=True)
class Row:
    """An entrant under a protocol: what is in the store of it, and the jobs for what is missing.

    Attributes:
        again: run every trial once more instead of skipping those with a record.
        progress: whether to draw progress bars.
        first: attack only the first so many images of every column; None attacks all.
    """

    protocol: Protocol
    entrant: Entrant
    results: Path
    device: str
    again: bool = False
    progress: bool = True
    first: int | None = None

    def finished(self, images: int) -> bool:
        """Whether every trial has its record, so that nothing is to be run, nor weights needed.

        Args:
            images: how many the protocol's data slice has.
        """
        store = ResultStore(self.results)
        try:
            return find_trained(store, self.entrant) is not None and not self.missing(images)
        except CheckpointError:
            return False  # the training will tell

    def missing(self, images: int) -> list[Trial]:
        """The trials without a record, or all of them `again`; none before it is trained."""
        store, defense = ResultStore(self.results), self.entrant.defense
        trained = find_trained(store, self.entrant)
        if trained is None:
            return []
        derived = derived_columns(self.protocol.adaptive, defense, trained.randomised)
        threat = self.protocol.threat
        trials = [
            Trial(self.entrant, c.on_first(self.first), self.protocol.slice(images), threat)
            for c in (*self.protocol.columns, *derived)
        ]
        return [t for t in trials if self.again or not store.finished(t.id, trained.checkpoint)]

    def check(self) -> Outcome:
        """Whether it could be filled at all, told in a sentence if not.

        A guest is asked for its network where it is trained, and not here.

        Raises:
            DataError: the data cannot be read, and no row could be filled.
        """
        data = loaded(self.protocol)
        if guests(self.entrant):
            return Outcome((self.entrant,))
        try:
            check(self.entrant, data)
        except BaseException as error:
            return Outcome((), (failed(self.entrant.chain, error),))
        return Outcome((self.entrant,))

    def attacks(self, images: int) -> "list[Attacking]":
        """A job for each missing trial."""
        return [Attacking(self, trial, trial.id) for trial in self.missing(images)]


@dataclass(frozen=True)
class Attacking(Job):
    """A job that runs one trial of a trained entrant and stores its record.

    Attributes:
        id: what the trial is called where the job was made.
    """

    row: Row
    trial: Trial
    id: str

    @property
    def title(self) -> str:
        return f"{self.trial.entrant.chain} {self.trial.column.name}"

    def run(self) -> Outcome:
        """Attack, judge and store.

        Raises:
            DataError, StoreError: no job of any row could succeed.
        """
        data, entrant = loaded(self.row.protocol), self.trial.entrant
        try:
            self._run(data)
        except StoreError:
            raise
        except BaseException as error:
            return Outcome((), (failed(self.title, error),))
        return Outcome((entrant,))

    def _run(self, data: DataSet) -> None:
        trial, row, column = self.trial, self.row, self.trial.column
        store = ResultStore(row.results)
        bar = tqdm(
            desc=f"attack {trial.entrant.chain} {column.name}", unit="image", leave=False,
            disable=not row.progress, position=bar_line(row.progress),
        )  # fmt: skip

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        with bar:
            require_same(trial.entrant.chain, self.id, trial.id)
            require_digest(trial.entrant, data)
            bench = self._bench(store, data)
            with watched(self):
                record, tables = run_trial(trial, bench, data, advance)
        require_same(trial.entrant.chain, self.id, trial.id)
        stored = _append(store, record, tables, row.again)
        bench.draft.discard()
        if not stored:
            say(f"  {trial.entrant.chain}  {column.name}: another run has stored it meanwhile")
            return
        verdict = f"refused: {record.reason}"
        if record.robust is not None:
            verdict = f"{record.robust:.1%} robust of {record.clean:.1%} clean"
        seconds = record.provenance["seconds"]
        say(f"  {trial.entrant.chain}  {column.name}: {verdict}  ({seconds:.0f} s)")

    def _bench(self, store: ResultStore, data: DataSet) -> Bench:
        task, device = Task(data.shape, data.classes), torch.device(self.row.device)
        chunk = chunk_size(state_size(build(self.trial.entrant, task)), device)
        bench = trained_bench(store, self.trial, data, device, chunk)
        run = store.next_run(self.trial.id, bench.checkpoint)
        draft = Draft(store.unfinished / f"{self.trial.id}-{bench.checkpoint[:8]}.json")
        return replace(bench, run=run, draft=draft, salt=draft.part("salt", fresh_salt))


def _append(
    store: ResultStore, record: Record, tables: Mapping[str, pa.Table], again: bool
) -> bool:
    """Store a record; False where another run of the trial was first, and one is enough.

    Args:
        again: whether one more was asked for, which then has the next free number.
    """
    while True:
        try:
            store.append(record, tables)
        except AlreadyStored:
            if not again:
                return False
            record = replace(record, run=store.next_run(record.trial, record.checkpoint))
        else:
            return True
