"""A matrix of trials in this process, one after the other, resumable at every trial."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from tqdm import tqdm

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.entrant import Entrant
from robustdeq.errors import RobustDEQError, StoreError
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.trial import Trial
from robustdeq.results.store import ResultStore
from robustdeq.training.trained import ensure_trained, load_model


@dataclass(frozen=True)
class Failure:
    """A job that could not be finished; all others went on."""

    job: str
    reason: str


@dataclass(frozen=True)
class Matrix:
    """Entrants x columns of one protocol, against one store.

    Attributes:
        say: prints one line to the user.
        row_done: called with an entrant's chain once all its columns are recorded.
        again: add a rerun of every trial instead of skipping those with a record.
    """

    protocol: Protocol
    entrants: Sequence[Entrant]
    store: ResultStore
    device: torch.device
    say: Callable[[str], None]
    row_done: Callable[[str], None]
    again: bool = False
    progress: bool = True

    def run(self) -> list[Failure]:
        """Train what is missing, run what has no record, and list what failed.

        Raises:
            DataError: the protocol's data are not there.
            StoreError: the results folder cannot be written, or holds damaged records.
        """
        data = self.protocol.load_data()
        resolved = self.protocol.resolved(len(data.test))
        self.store.write_protocol(self.protocol.name, resolved)
        finished = {(r.trial, r.checkpoint) for r in self.store.scan()}
        failures: list[Failure] = []
        for entrant in self.entrants:
            entrant = entrant.against(self.protocol.threat)
            failed, worked = self._row(entrant, data, finished)
            failures += failed
            if worked and not failed:
                self.row_done(entrant.chain)
        return failures

    def _row(
        self, entrant: Entrant, data: DataSet, finished: set[tuple[str, str]]
    ) -> tuple[list[Failure], bool]:
        """Train and run one entrant; what failed, and whether anything was computed."""
        name = f"{entrant.chain} seed {entrant.seed}"
        try:
            trained = ensure_trained(self.store, entrant, data, self.device, self.progress)
        except (StoreError, KeyboardInterrupt):
            raise
        except Exception as error:
            return [self._failed(f"train {name}", error)], True
        trials = [
            Trial(entrant, column, self.protocol.slice(len(data.test)), self.protocol.threat)
            for column in self.protocol.columns
        ]
        missing = [t for t in trials if self.again or (t.id, trained.checkpoint) not in finished]
        failures = []
        for trial in missing:
            try:
                self._trial(trial, trained.checkpoint, data)
            except (StoreError, KeyboardInterrupt):
                raise
            except Exception as error:
                failures.append(self._failed(f"{name}, column {trial.column.name}", error))
        return failures, bool(missing)

    def _trial(self, trial: Trial, checkpoint: str, data: DataSet) -> None:
        task = Task(data.shape, data.classes)
        bench = Bench(
            lambda: load_model(self.store, trial.entrant, task, self.device),
            checkpoint,
            self.device,
            chunk_size(self.device),
            self.store.next_run(trial.id, checkpoint),
        )
        bar = tqdm(
            total=len(data.test) * len(trial.column.seeds), disable=not self.progress, leave=False,
            desc=f"attack {trial.entrant.chain} {trial.column.name}", unit="image",
        )  # fmt: skip
        with bar:
            record, tables = evaluate(trial, bench, data.test, lambda n: bar.update(n) and None)
        self.store.append(record, tables)
        verdict = f"refused: {record.reason}"
        if record.status == "done":
            verdict = f"{record.robust:.1%} robust of {record.clean:.1%} clean"
        seconds = record.provenance["seconds"]
        self.say(f"  {trial.entrant.chain}  {trial.column.name}: {verdict}  ({seconds:.0f} s)")

    def _failed(self, job: str, error: Exception) -> Failure:
        """Say what went wrong: one sentence for a mistake, the traceback for a defect."""
        if isinstance(error, RobustDEQError):
            self.say(f"  {job} failed: {error}")
        else:
            self.say(f"  {job} failed:\n{traceback.format_exc()}")
        return Failure(job, str(error))


def chunk_size(device: torch.device) -> int:
    """Rows attacked together: a CPU's caches favour small batches, a GPU wants to be filled."""
    return 1024 if device.type == "cuda" else 128


def with_seeds(entrants: Sequence[Entrant], seeds: Sequence[int]) -> list[Entrant]:
    """Every entrant under every training seed."""
    return [replace(entrant, seed=seed) for entrant in entrants for seed in seeds]
