"""One row of a matrix: an entrant, trained and run against every column of a protocol."""

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

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

SEAT = "ROBUSTDEQ_SEAT"  # the number of this worker process, set by the engine


@dataclass(frozen=True)
class Outcome:
    """What came of a row: the jobs that failed, each with its reason, and whether any was run."""

    chain: str
    failures: tuple[tuple[str, str], ...]
    worked: bool


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

    def run(self) -> Outcome:
        """Train the entrant if need be, then every column without a record.

        Raises:
            DataError, StoreError: no job of any row could succeed.
        """
        data, store = self.protocol.load_data(), ResultStore(self.results)
        chain, device = self.entrant.chain, torch.device(self.device)
        try:
            trained = ensure_trained(store, self.entrant, data, device, self._bar_line())
        except StoreError:
            raise
        except Exception as error:
            return Outcome(chain, (_failure(f"train {chain}", error),), True)
        missing = [
            trial
            for trial in self._trials(len(data.test))
            if self.again or not store.finished(trial.id, trained.checkpoint)
        ]
        failures = []
        for trial in missing:
            try:
                self._run_trial(trial, trained.checkpoint, data, store)
            except StoreError:
                raise
            except Exception as error:
                failures.append(_failure(f"{chain} {trial.column.name}", error))
        return Outcome(chain, tuple(failures), bool(missing))

    def _bar_line(self) -> int | None:
        """Workers beside one another draw on lines of their own."""
        return int(os.environ.get(SEAT, "0")) if self.progress else None

    def _trials(self, images: int) -> list[Trial]:
        protocol = self.protocol
        return [
            Trial(self.entrant, column, protocol.slice(images), protocol.threat)
            for column in protocol.columns
        ]

    def _run_trial(self, trial: Trial, checkpoint: str, data: DataSet, store: ResultStore) -> None:
        task, device = Task(data.shape, data.classes), torch.device(self.device)
        bench = Bench(
            lambda: load_model(store, trial.entrant, task, device),
            checkpoint,
            device,
            chunk_size(device),
            store.next_run(trial.id, checkpoint),
        )
        bar = tqdm(
            desc=f"attack {trial.entrant.chain} {trial.column.name}", unit="image", leave=False,
            disable=not self.progress, position=self._bar_line(),
        )  # fmt: skip

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        with bar:
            record, tables = evaluate(trial, bench, data.test, advance)
        store.append(record, tables)
        verdict = f"refused: {record.reason}"
        if record.robust is not None:
            verdict = f"{record.robust:.1%} robust of {record.clean:.1%} clean"
        seconds = record.provenance["seconds"]
        say(f"  {trial.entrant.chain}  {trial.column.name}: {verdict}  ({seconds:.0f} s)")


def chunk_size(device: torch.device) -> int:
    """Rows attacked together: a CPU's caches favour small batches, a GPU wants to be filled."""
    return 1024 if device.type == "cuda" else 128


def say(text: str) -> None:
    """A line for the user, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


def _failure(job: str, error: Exception) -> tuple[str, str]:
    """Tell a mistake in one sentence and a defect with its traceback."""
    told = str(error) if isinstance(error, RobustDEQError) else f"\n{traceback.format_exc()}"
    say(f"  {job} failed: {told}")
    return job, f"{type(error).__name__}: {error}"
