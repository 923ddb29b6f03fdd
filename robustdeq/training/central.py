"""Training one entrant on one machine."""

import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import DataSet, Split
from robustdeq.defenses.base import Batch, DefendedModel, Task
from robustdeq.defenses.crafting import training_surface
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel
from robustdeq.training.state import TrainingState

_LOOK = PGD(steps=10)  # the attack behind the held-out robust accuracy: cheap, and never reported


def train(
    entrant: Entrant,
    data: DataSet,
    device: torch.device,
    resume: Path | None = None,
    bar_line: int | None = 0,
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Train from scratch, or go on where an interrupted training stopped.

    Args:
        resume: where to keep the state of the unfinished training; an existing one is continued
            bit for bit. The caller deletes it once the result is safe.
        bar_line: the terminal line of the progress bar; None draws none.

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
    batches = run.batches_per_epoch
    bar = tqdm(
        total=recipe.epochs * batches, initial=state.epoch * batches,
        disable=bar_line is None, position=bar_line, leave=False,
        desc=f"train {entrant.chain} seed {entrant.seed}", unit="batch", smoothing=0.1,
    )  # fmt: skip
    with bar:
        while state.epoch < recipe.epochs:
            run.epoch(bar)
            if resume is not None:
                state.save(resume)
    model.load_state_dict(state.best)
    return model.eval().requires_grad_(False), state.log


def build(entrant: Entrant, task: Task) -> Classifier:
    """The untrained network of an entrant; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(NoiseStream(entrant.seed).child("weights").seed)
        return entrant.defense.build(task)


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
        self._train = _on(data.train, device)
        self._held_out = _on(data.held_out, device)
        self._noise = NoiseStream(entrant.seed).child("training")
        model = state.model
        assert isinstance(model, Classifier)
        self._target = DefendedModel(entrant.defense, model, {})
        self.batches_per_epoch = -(-len(data.train) // entrant.recipe.batch_size)

    def epoch(self, bar: tqdm) -> None:
        """One pass over the training images, and a look where the recipe asks for one."""
        state, recipe, number = self._state, self._entrant.recipe, self._state.epoch
        images, labels = self._train
        order = self._noise.permutation(len(images), draw=number).to(images.device)
        total, started = torch.zeros((), device=images.device), time.monotonic()
        for step, rows in enumerate(order.split(recipe.batch_size)):
            batch = Batch(images[rows], labels[rows], rows, self._threat)
            rate = recipe.rate(
                number * self.batches_per_epoch + step, recipe.epochs * self.batches_per_epoch
            )
            total += self._step(batch, rate, number) * len(rows)
            bar.update()
        loss = total.item() / len(images)
        if loss != loss:
            raise SpecError(
                f"training {self._entrant.chain} diverged in epoch {number}: the loss is NaN; "
                f"lower the learning rate ({recipe.learning_rate})"
            )
        speed = len(images) / (time.monotonic() - started)
        state.epoch = number + 1
        if state.epoch % recipe.validate_every == 0 or state.epoch == recipe.epochs:
            clean, robust = self._look()
            state.keep_best(clean + robust)
            row = {"epoch": state.epoch, "loss": loss, "clean": clean, "robust": robust}
            state.log.append({**row, "images_per_second": round(speed, 1)})
            bar.set_postfix(
                epoch=state.epoch, loss=f"{loss:.3f}", clean=f"{clean:.1%}", robust=f"{robust:.1%}",
                images=f"{speed:.0f}/s",
            )  # fmt: skip

    def _step(self, batch: Batch, rate: float, epoch: int) -> torch.Tensor:
        model, defense = self._state.model, self._entrant.defense
        noise = self._noise.child("epoch", epoch).at(batch.rows)
        model.eval().requires_grad_(False)
        x_adv = defense.craft(self._target, batch, noise, self._state.memory).detach()
        model.train().requires_grad_(True)
        loss = defense.objective(self._target, batch, x_adv, noise)
        for group in self._state.optimizer.param_groups:
            group["lr"] = rate
        self._state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._state.optimizer.step()
        return loss.detach()

    def _look(self) -> tuple[float, float]:
        """Clean and robust accuracy on the held-out images, as the model would be deployed."""
        model, (images, labels) = self._target.classifier, self._held_out
        model.eval().requires_grad_(False)
        rows = torch.arange(len(images), device=images.device)
        noise = self._noise.child("look")
        surface = training_surface(model)
        x_adv = _LOOK.perturb(surface, images, labels, rows, self._threat, noise)[0]
        right = [
            (self._target.predict(x, rows, noise).labels == labels).float().mean().item()
            for x in (images, x_adv)
        ]
        return right[0], right[1]


def _on(split: Split, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return split.images.to(device), split.labels.to(device)
