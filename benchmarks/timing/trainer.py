"""The training both sides share, in steps that can be timed."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from benchmarks.timing import slow_cell
from benchmarks.timing.clock import headline, timed
from benchmarks.timing.library_training import LibraryTraining
from benchmarks.timing.residual import Residual
from benchmarks.timing.subjects import find_subject
from robustdeq.data.base import DataSet
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import Batch, DefendedModel, Defense, Task
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import UnknownName
from robustdeq.models.base import Classifier
from robustdeq.noise import NoiseStream
from robustdeq.threats.linf import Linf
from robustdeq.training import step as training_step
from robustdeq.training.central import build


@dataclass(frozen=True)
class Look:
    """A network after an epoch: CPU seconds of training so far, held-out accuracy, weights."""

    cpu: float
    robust: float
    weights: dict[str, torch.Tensor]


def pair(
    cell: str, eps: Fraction | None = None, epochs: int = 0, seed: int = 0
) -> tuple[Entrant, Entrant]:
    """(ours, theirs) around the same network and recipe; radius and epochs by default its own.

    The opponent solves to the tolerance at which it attacks best.

    Raises:
        UnknownName: another cell than "stock" or "slow".
    """
    nets: dict[str, tuple[Defense, Recipe]] = {
        "stock": (Vanilla(), Recipe(Linf(Fraction(3, 16)))),
        "slow": (Residual(), slow_cell.entrant(32).recipe),
    }
    if cell not in nets:
        raise UnknownName("cell", cell, nets)
    base, own = nets[cell]
    threat = Linf(eps) if eps else own.threat
    ours = Entrant(
        AdversarialTraining(base), replace(own, epochs=epochs or own.epochs, threat=threat), seed
    )
    return ours, replace(ours, defense=LibraryTraining(base, find_subject(cell).settings))


def optimise(entrant: Entrant, data: DataSet, model: Classifier) -> Iterator[int]:
    """Train a network in place, epoch after epoch; yields the images seen, step by step."""
    recipe = entrant.recipe
    assert recipe.threat is not None
    target, noise = DefendedModel(entrant.defense, model, {}), NoiseStream(entrant.seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    per_epoch = -(-len(data.train) // recipe.batch_size)
    steps = recipe.epochs * per_epoch
    memory: dict[str, torch.Tensor] = {}
    seen = 0
    for step in itertools.count():
        order = noise.permutation(len(data.train), draw=step // per_epoch)
        rows = order.split(recipe.batch_size)[step % per_epoch].to(data.train.images.device)
        batch = Batch(data.train.images[rows], data.train.labels[rows], rows, recipe.threat)
        draws = noise.child("step", step).at(rows)
        done = min(step, steps)
        moved = replace(target, progress=done / steps)
        training_step.optimise(moved, batch, draws, memory, optimizer, recipe.rate(done, steps))
        seen += len(rows)
        yield seen


def speed(entrant: Entrant, data: DataSet, model: Classifier, steps: int, warm_up: int) -> float:
    """Training images per second of the headline clock, after some steps that are not timed."""
    run = optimise(entrant, data, model)
    before = [next(run) for _ in range(warm_up)]
    after, lap = timed(lambda: [next(run) for _ in range(steps)])
    seconds = headline(lap, data.train.images.device)
    return (after[-1] - (before[-1] if before else 0)) / seconds


def looks(entrant: Entrant, data: DataSet) -> list[Look]:
    """A training from scratch, looked at after every epoch."""
    model = build(entrant, Task(data.shape, data.classes)).to(data.train.images.device)
    target, threat = DefendedModel(entrant.defense, model, {}), entrant.recipe.threat
    assert threat is not None
    run, cpu, found = optimise(entrant, data, model), 0.0, []
    batches = -(-len(data.train) // entrant.recipe.batch_size)
    for _ in range(entrant.recipe.epochs):
        _, lap = timed(lambda: [next(run) for _ in range(batches)])
        cpu += headline(lap, data.train.images.device)
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        found.append(
            Look(cpu, training_step.look(target, data.held_out, threat, NoiseStream(0))[1], weights)
        )
    return found
