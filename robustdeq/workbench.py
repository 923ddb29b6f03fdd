"""Where the trials of a results folder run: the one way from a trained entrant to its record."""

import torch

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError
from robustdeq.evaluation.bench import Bench, Source
from robustdeq.evaluation.outcome import Tables
from robustdeq.evaluation.trial import Trial
from robustdeq.hints import hint
from robustdeq.progress import Progress, unseen
from robustdeq.registry import plugin_options
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.training.trained import find_trained, load_model, require_trained


def run_trial(
    trial: Trial,
    bench: Bench,
    data: DataSet,
    progress: Progress = unseen,
) -> tuple[Record, Tables]:
    """Attack or audit, as the column's goal has it; nothing is written."""
    return trial.column.aim.run(trial, bench, data.test, progress)


def trained_bench(
    store: ResultStore,
    trial: Trial,
    data: DataSet,
    device: torch.device,
    batch_size: int = 128,
    protocol: str = "PROTOCOL",
) -> Bench:
    """The bench of a trial whose entrant, and whose sources, are trained in a results folder.

    Args:
        protocol: the name or TOML file that the trial was asked for by, for messages.

    Raises:
        CheckpointError: the entrant is not; a source is not, when it is asked for.
    """
    task = Task(data.shape, data.classes)
    trained = require_trained(store, trial.entrant, protocol)

    def source(entrant: Entrant) -> Source:
        found = find_trained(store, entrant)
        if found is None:
            command = hint(
                "run", protocol, "--entrant", trial.entrant.chain, "--seed", trial.entrant.seed,
                "--results", store.root, *plugin_options(),
            )  # fmt: skip
            raise CheckpointError(
                f"column {trial.column.name!r} transfers from {entrant.chain} seed {entrant.seed}, "
                f"which is not trained in {store.root}; {command} trains the sources of its "
                f"protocol first"
            )
        return Source(found.checkpoint, lambda: load_model(store, entrant, task, device))

    return Bench(
        lambda: load_model(store, trial.entrant, task, device),
        trained.checkpoint,
        device,
        batch_size,
        source=source,
        randomised=trained.randomised,
    )
