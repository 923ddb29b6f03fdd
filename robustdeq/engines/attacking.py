"""The attack of one trial as a job, its entrant in the job's own process."""

from dataclasses import dataclass, replace

import torch

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.engines.desk import Desk
from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.pools import Job, watched
from robustdeq.engines.training import loaded
from robustdeq.errors import StoreError
from robustdeq.evaluation.bench import fresh_salt
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.trial import Trial
from robustdeq.training.central import build
from robustdeq.training.trained import require_digest, require_same
from robustdeq.workbench import run_trial, trained_bench


@dataclass(frozen=True)
class Attacking(Job):
    """A job that runs one trial of a trained entrant and stores its record."""

    protocol: Protocol
    trial: Trial
    desk: Desk
    device: str

    @property
    def title(self) -> str:
        return self.desk.title

    def run(self) -> Outcome:
        """Attack, judge and store.

        Raises:
            DataError, StoreError: no job of any row could succeed.
        """
        data = loaded(self.protocol)  # a failure is everybody's, not this trial's
        try:
            self._run(data)
        except StoreError:
            raise
        except BaseException as error:
            return Outcome((), (failed(self.title, error),))
        return Outcome((self.desk.entrant,))

    def _run(self, data: DataSet) -> None:
        trial, desk = self.trial, self.desk
        with desk.bar() as advance:
            require_same(desk.chain, desk.trial, trial.id)
            require_digest(trial.entrant, data)
            task, device = Task(data.shape, data.classes), torch.device(self.device)
            chunk = chunk_size(state_size(build(trial.entrant, task)), device)
            bench = trained_bench(desk.store, trial, data, device, chunk)
            run = desk.store.next_run(desk.trial, bench.checkpoint)
            draft = desk.draft(bench.checkpoint)
            bench = replace(bench, run=run, draft=draft, salt=draft.part("salt", fresh_salt))
            with watched(self):
                record, tables = run_trial(trial, bench, data, advance)
        require_same(desk.chain, desk.trial, trial.id)
        desk.keep(record, tables)
