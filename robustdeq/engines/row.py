"""One row of a matrix: an entrant, trained and run against every column of a protocol."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from robustdeq.audits.trial import audit
from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.engines.outcome import Outcome, bar_line, failed, say
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError, StoreError
from robustdeq.evaluation.adaptive import derived_columns
from robustdeq.evaluation.bench import Bench, Source
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.trial import Trial
from robustdeq.results.store import ResultStore
from robustdeq.training.central import build
from robustdeq.training.trained import Trained, ensure_trained, find_trained, load_model


@dataclass(frozen=True)
class Row:
    """A self-contained job: it reads what is in the store, adds what is missing, and can be killed.

    Attributes:
        again: run every trial once more instead of skipping those with a record.
        progress: whether to draw progress bars.
    """

    protocol: Protocol
    entrant: Entrant
    results: Path
    device: str
    again: bool = False
    progress: bool = True

    def finished(self, images: int) -> bool:
        """Whether every trial has its record, so that nothing is to be run, nor weights needed.

        Args:
            images: how many the protocol's data slice has.
        """
        store = ResultStore(self.results)
        try:
            trained = find_trained(store, self.entrant)
        except CheckpointError:
            return False  # the job will tell
        return trained is not None and not self._missing(store, images, trained)

    def run(self) -> Outcome:
        """Train the entrant and its columns' sources if need be, then fill every column.

        Raises:
            DataError, StoreError: no job of any row could succeed.
        """
        data, store = self.protocol.load_data(), ResultStore(self.results)
        entrant, device = self.entrant, torch.device(self.device)
        for needed in (*self.protocol.sources(), entrant):
            try:
                ensure_trained(store, needed, data, device, bar_line(self.progress))
            except StoreError:
                raise
            except Exception as error:
                return Outcome(entrant, (failed(f"train {needed.chain}", error),))
        trained = find_trained(store, entrant)
        assert trained is not None
        network = build(entrant, Task(data.shape, data.classes))
        chunk, failures = chunk_size(state_size(network), device.type), []
        for trial in self._missing(store, len(data.test), trained):
            try:
                self._run_trial(trial, trained, data, store, chunk)
            except StoreError:
                raise
            except Exception as error:
                failures.append(failed(f"{entrant.chain} {trial.column.name}", error))
        return Outcome(entrant, tuple(failures))

    def _missing(self, store: ResultStore, images: int, trained: Trained) -> list[Trial]:
        protocol, defense = self.protocol, self.entrant.defense
        derived = derived_columns(protocol.adaptive, defense, trained.randomised)
        trials = [
            Trial(self.entrant, column, protocol.slice(images), protocol.threat)
            for column in (*protocol.columns, *derived)
        ]
        return [t for t in trials if self.again or not store.finished(t.id, trained.checkpoint)]

    def _run_trial(
        self, trial: Trial, trained: Trained, data: DataSet, store: ResultStore, chunk: int
    ) -> None:
        task, device = Task(data.shape, data.classes), torch.device(self.device)

        def source(entrant: Entrant) -> Source:
            found = find_trained(store, entrant)
            assert found is not None, "sources are trained first"
            return Source(found.checkpoint, lambda: load_model(store, entrant, task, device))

        bench = Bench(
            lambda: load_model(store, trial.entrant, task, device),
            trained.checkpoint,
            device,
            chunk,
            store.next_run(trial.id, trained.checkpoint),
            source,
            trained.randomised,
        )
        bar = tqdm(
            desc=f"attack {trial.entrant.chain} {trial.column.name}", unit="image", leave=False,
            disable=not self.progress, position=bar_line(self.progress),
        )  # fmt: skip

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        with bar:
            run = audit if trial.column.goal == "audit" else evaluate
            record, tables = run(trial, bench, data.test, advance)
        store.append(record, tables)
        verdict = f"refused: {record.reason}"
        if record.robust is not None:
            verdict = f"{record.robust:.1%} robust of {record.clean:.1%} clean"
        seconds = record.provenance["seconds"]
        say(f"  {trial.entrant.chain}  {trial.column.name}: {verdict}  ({seconds:.0f} s)")
