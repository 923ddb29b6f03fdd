"""Small trainings for `benchmarks.capacity`, and the time of their steps; all are kept."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from benchmarks.kept import RUNS, kept
from robustdeq.defenses.base import Batch, DefendedModel, Defense, Task
from robustdeq.defenses.sparse_weight_tied import SparseWeightTied
from robustdeq.entrant import Entrant, Recipe
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.models.explicit import ExplicitClassifier
from robustdeq.models.masked import MaskedStack
from robustdeq.noise import NoiseStream
from robustdeq.spec import digest
from robustdeq.training.central import build, train
from robustdeq.training.step import optimise

PROTOCOL = load_protocol("digits-linf-v2")


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where it is kept.

    Attributes:
        rounds: of the timing, after one to warm up; `steps` of each gradient in every round.
    """

    seeds: int = 3
    epochs: int = 10
    rounds: int = 7
    steps: int = 4
    folder: Path = RUNS / "capacity"

    def entrant(self, defense: Defense, seed: int) -> Entrant:
        """Trained on clean images, the weights those of the last epoch."""
        recipe = Recipe(PROTOCOL.threat, epochs=self.epochs, validate_every=self.epochs)
        return Entrant(defense, recipe, seed)

    def trained(self, defense: Defense) -> list[dict[str, float]]:
        """The figures of each seed; a sparse network's masks are drawn anew for each."""
        found = []
        for seed in range(self.seeds):
            mine = defense
            if isinstance(defense, SparseWeightTied):
                mine = replace(defense, mask_seed=seed)
            entrant = self.entrant(mine, seed)
            found.append(kept(self.folder / f"{entrant.id}.json", lambda e=entrant: measure(e)))
        return found

    def seconds(self, defenses: dict[str, Defense]) -> dict[str, list[float]]:
        """CPU seconds of an optimiser step with each, one figure a round, by their names here."""
        name = f"seconds-{digest(list(defenses.values()))}-{self.rounds}-{self.steps}.json"
        return kept(self.folder / name, lambda: _seconds(self, defenses))


def measure(entrant: Entrant) -> dict[str, float]:
    """Train; loss and accuracy of the last weights, and the residual where there is a state."""
    data = PROTOCOL.load_data()
    model, _ = train(entrant, data, torch.device("cpu"))
    seen, unseen = (model.predict(split.images) for split in (data.train, data.test))
    return {
        "loss": cross_entropy(seen.logits, data.train.labels).item(),
        "right": (unseen.labels == data.test.labels).double().mean().item(),
        "residual": unseen.residual.median().item(),
    }


def counts(network: SparseWeightTied) -> list[str]:
    """Stored and live parameters of the masked body, and its multiply-adds on one image."""
    data = PROTOCOL.load_data()
    model = network.build(Task(data.shape, data.classes))
    assert isinstance(model, ExplicitClassifier)
    assert isinstance(model.body, MaskedStack)
    stored = sum(p.numel() for p in model.body.parameters())
    work = model.body.multiply_adds(*data.shape[1:])
    return [f"{stored:,}", f"{model.body.live_parameters():,}", f"{work:,}"]


def _seconds(plan: Plan, defenses: dict[str, Defense]) -> dict[str, list[float]]:
    data, runs = PROTOCOL.load_data(), []
    for name, defense in defenses.items():
        model = build(plan.entrant(defense, seed=0), Task(data.shape, data.classes))
        optimizer = torch.optim.AdamW(model.parameters())
        runs.append((name, DefendedModel(defense, model, {}), optimizer))
    spent, size = {name: [] for name in defenses}, Recipe().batch_size
    for number in range(plan.rounds + 1):
        rows = torch.arange(size) + number * size
        batch = Batch(data.train.images[rows], data.train.labels[rows], rows, PROTOCOL.threat)
        for name, target, optimizer in runs:
            before = time.process_time()
            for _ in range(plan.steps):
                optimise(target, batch, NoiseStream(0).at(rows), {}, optimizer, rate=1e-3)
            spent[name].append((time.process_time() - before) / plan.steps)
    return {name: each[1:] for name, each in spent.items()}
