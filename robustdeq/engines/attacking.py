"""The attack of one trial as a job, its entrant in the job's own process."""

from dataclasses import dataclass, replace

import torch

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.engines.pools import watched
from robustdeq.engines.trial_job import TrialJob
from robustdeq.evaluation.bench import fresh_salt
from robustdeq.evaluation.trial import Trial
from robustdeq.progress import Display
from robustdeq.training.central import build
from robustdeq.training.trained import require_digest, require_same
from robustdeq.workbench import run_trial, trained_bench


@dataclass(frozen=True)
class Attacking(TrialJob):
    """A job that runs its trial on models that it loads itself."""

    trial: Trial

    def attack(self, data: DataSet, display: Display) -> None:
        trial, desk = self.trial, self.desk
        with display.task(desk.task, "image") as advance:
            require_same(desk.chain, desk.trial, trial.id)
            require_digest(desk.chain, trial.entrant.data, data)
            task, device = Task(data.shape, data.classes), torch.device(self.device)
            chunk = chunk_size(state_size(build(trial.entrant, task)), device)
            bench = trained_bench(desk.store, trial, data, device, chunk)
            run = desk.store.next_run(desk.trial, bench.checkpoint)
            draft = desk.draft(bench.checkpoint)
            bench = replace(bench, run=run, draft=draft, salt=draft.part("salt", fresh_salt))
            with watched(self):
                record, tables = run_trial(trial, bench, data, advance)
        require_same(desk.chain, desk.trial, trial.id)
        desk.keep(record, tables, display)
