"""Training one entrant on one machine."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from robustdeq.content import declare
from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Batch, DefendedModel, Task
from robustdeq.defenses.returned import network
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.noise import NoiseStream
from robustdeq.progress import Progress, unseen
from robustdeq.threats.base import ThreatModel
from robustdeq.training.state import TrainingState
from robustdeq.training.step import look, optimise


def train(
    entrant: Entrant,
    data: DataSet,
    device: torch.device,
    resume: Path | None = None,
    progress: Progress = unseen,
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Train from scratch, or go on where an interrupted training stopped.

    Args:
        resume: where to keep the state of the unfinished training; an existing one is continued
            bit for bit. The caller deletes it once the result is safe.
        progress: hears of every step.

    Returns:
        The network with the weights of its best look at the held-out images, and the log: epoch,
        loss, held-out clean and robust accuracy, images per second.

    Raises:
        SpecError: the recipe names no threat model, or training diverged.
        CheckpointError: the state in `resume` is damaged.
    """
    recipe = entrant.recipe
    if recipe.threat is None:
        raise SpecError(
            f"{entrant.chain}: the recipe names no threat; give it one to train against"
        )
    model = build(entrant, Task(data.shape, data.classes)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    state = TrainingState(model, optimizer)
    if resume is not None and resume.exists():
        state.load(resume)
    run = _Run(entrant, data, device, state, recipe.threat)
    while state.epoch < recipe.epochs:
        run.epoch(progress)
        if resume is not None:
            state.save(resume)
    model.load_state_dict(state.best)
    return model.eval().requires_grad_(False), state.log


def build(entrant: Entrant, task: Task) -> Classifier:
    """The untrained network of an entrant, which knows its task.

    Torch's global generator is left as it was.

    Raises:
        ContractViolation: the defense builds something else.
    """
    for part in entrant.defense.parts:
        declare(part)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(NoiseStream(entrant.seed).child("weights").seed)
        built = network(entrant.defense.build(task), f"{entrant.chain}: `build`")
    built.task = task
    return built


class _Run:
    """One training: epochs, batches and looks at the held-out images."""

    def __init__(
        self,
        entrant: Entrant,
        data: DataSet,
        device: torch.device,
        state: TrainingState,
        threat: ThreatModel,
    ):
        self._entrant, self._state, self._threat = entrant, state, threat
        self._train = data.train.to(device)
        self._held_out = data.held_out.to(device)
        self._noise = NoiseStream(entrant.seed).child("training")
        model = state.model
        assert isinstance(model, Classifier)
        self._target = DefendedModel(entrant.defense, model, {})
        self.batches_per_epoch = -(-len(data.train) // entrant.recipe.batch_size)

    def epoch(self, progress: Progress) -> None:
        """One pass over the training images, and a look where the recipe asks for one."""
        state, recipe, number = self._state, self._entrant.recipe, self._state.epoch
        images, labels = self._train.images, self._train.labels
        order = self._noise.permutation(len(images), draw=number).to(images.device)
        total, started = torch.zeros((), device=images.device), time.monotonic()
        noise, steps = self._noise.child("epoch", number), recipe.epochs * self.batches_per_epoch
        for step, rows in enumerate(
            order.split(recipe.batch_size), number * self.batches_per_epoch
        ):
            batch = Batch(images[rows], labels[rows], rows, self._threat)
            target = replace(self._target, progress=step / steps)
            total += len(rows) * optimise(
                target, batch, noise.at(rows), state.memory, state.optimizer,
                recipe.rate(step, steps),
            )  # fmt: skip
            progress(step + 1, steps)
        loss = total.item() / len(images)
        if loss != loss:
            raise SpecError(
                f"training {self._entrant.chain} diverged in epoch {number}: the loss is NaN; "
                f"lower the learning rate ({recipe.learning_rate})"
            )
        speed = len(images) / (time.monotonic() - started)
        state.epoch = number + 1
        if state.epoch % recipe.validate_every == 0 or state.epoch == recipe.epochs:
            noise = self._noise.child("look")
            clean, robust = look(self._target, self._held_out, self._threat, noise)
            state.keep_best(clean + robust)
            row = {"epoch": state.epoch, "loss": loss, "clean": clean, "robust": robust}
            state.log.append({**row, "images_per_second": round(speed, 1)})
            accuracy = f"{clean:.1%} clean, {robust:.1%} robust"
            told = f"epoch {state.epoch}, loss {loss:.3f}, {accuracy}, {speed:.0f} images/s"
            progress(state.epoch * self.batches_per_epoch, steps, told)
