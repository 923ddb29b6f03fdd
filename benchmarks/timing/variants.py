"""What cheaper adversarial trainings cost, and what they end with.

    python -m benchmarks.timing.variants [--cell stock] [--epochs 30] [--images 200] [--seeds 1]

Each trains the same network from scratch with the same recipe, and its last weights are judged:
nothing is chosen among epochs. Against each variant stands a control of its cost: PGD-7 training
for as many epochs as the variant's evaluations pay for, its learning rate annealed over those.
Fewer epochs, not fewer steps: PGD-1 from a random start is the one-step variant itself. For the
variant that keeps perturbations there is the control of fewer steps, too: PGD-2 that keeps none,
its steps together as long as the one of fgsm-training.

CPU time of one thread. Evaluations are those of the cell and its vector-Jacobian products, of the
inner maximisation and of the weights' step, per training image. Clean and robust accuracy are the
deployed predictor's on test images, robust under the union of PGD-40 in both modes, with 95 %
intervals over images and, where there are several, seeds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

import numpy as np
import torch

from benchmarks.timing.clock import machine, timed, torch_threads
from benchmarks.timing.contests import pgd_union
from benchmarks.timing.options import DIGITS, load_data
from benchmarks.timing.trainer import optimise, pair
from benchmarks.timing.verifier import Survival
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import DataSet, Split
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import Defense, Task, Wrapper
from robustdeq.defenses.fgsm_training import FgsmTraining
from robustdeq.defenses.persistent_training import PersistentTraining
from robustdeq.entrant import Entrant
from robustdeq.models.deq import DEQClassifier
from robustdeq.results.boards.statistics import defense_interval
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent
from robustdeq.surface import Cost
from robustdeq.surfaces.network import counted
from robustdeq.training.central import build

REFERENCE = "PGD-7"
COLUMNS = ("training", "epochs", "CPU s", "evaluations", "clean", "robust")


@dataclass(frozen=True)
class Ending:
    """A training from scratch: its price, and who of the test images its last network gets right.

    Attributes:
        evaluations: per training image, over all epochs.
        clean, robust: (n,) each.
    """

    epochs: int
    cpu: float
    evaluations: float
    clean: Survival
    robust: Survival


def finish(entrant: Entrant, data: DataSet, test: Split) -> Ending:
    """Train to the last epoch, and judge what comes out."""
    model, cost = build(entrant, Task(data.shape, data.classes)), Cost()
    assert isinstance(model, DEQClassifier)
    hook = model.cell.register_forward_hook(lambda *call: counted(call[-1], cost))
    epochs, run = entrant.recipe.epochs, optimise(entrant, data, model)
    batches = epochs * -(-len(data.train) // entrant.recipe.batch_size)
    _, lap = timed(lambda: list(islice(run, batches)))
    hook.remove()
    model.eval().requires_grad_(False)
    candidates = pgd_union(entrant, model, data, test)
    right = [model.predict(x).labels == test.labels for x in (test.images, *candidates)]
    return Ending(
        epochs,
        lap.cpu,
        cost.counts.total() / len(data.train),
        right[0].cpu().numpy(),
        torch.stack(right).all(0).cpu().numpy(),
    )


def endings(entrant: Entrant, data: DataSet, test: Split) -> dict[str, Ending]:
    """Every training of one seed, by its line in the table; the entrant is the bare network."""
    base, epochs = entrant.defense, entrant.recipe.epochs

    def run(defense: Defense, epochs: int) -> Ending:
        recipe = replace(entrant.recipe, epochs=epochs)
        return finish(replace(entrant, defense=defense, recipe=recipe), data, test)

    plain = AdversarialTraining(base)
    found = {REFERENCE: run(plain, epochs)}
    for variant in (FgsmTraining(base), PersistentTraining(base)):
        name = variant.plugin_name()
        found[name] = run(variant, epochs)
        share = found[name].evaluations / found[REFERENCE].evaluations
        found[f"PGD-7, as much as {name}"] = run(plain, max(1, round(share * epochs)))
    forgetful = AdversarialTraining(base, PGD(steps=2, step=Fraction(5, 8)))
    return {**found, "PGD-2, nothing kept": run(forgetful, epochs)}


def row(name: str, runs: Sequence[Ending]) -> list[str]:
    """A line of the table: means over seeds."""
    epochs, cpu, evaluations = (
        float(np.mean([getattr(run, field) for run in runs]))
        for field in ("epochs", "cpu", "evaluations")
    )
    return [
        name, f"{epochs:.3g}", f"{cpu:.1f}", f"{evaluations:.0f}",
        _accuracy([run.clean for run in runs]), _accuracy([run.robust for run in runs]),
    ]  # fmt: skip


def _accuracy(verdicts: Sequence[Survival]) -> str:
    low, high = defense_interval(np.stack(verdicts))
    return f"{per_cent(float(np.mean(verdicts)))} ({per_cent(low)} to {per_cent(high)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", choices=("stock", "slow"), default="stock")
    parser.add_argument("--epochs", type=int, default=0, help="by default the cell's recipe's")
    parser.add_argument("--images", type=int, default=200, help="of the test split")
    parser.add_argument("--seeds", type=int, default=1, help="of the trainings")
    options = parser.parse_args()
    data = load_data(DIGITS, None)
    test = data.test.take(options.images)
    runs = []
    with torch_threads(1):
        for seed in range(options.seeds):
            ours, _ = pair(options.cell, None, options.epochs, seed)
            assert isinstance(ours.defense, Wrapper)
            runs.append(endings(replace(ours, defense=ours.defense.base), data, test))
    rows = [row(name, [run[name] for run in runs]) for name in runs[0]]
    print(table(COLUMNS, rows, left=COLUMNS[:1]))
    print(f"{options.cell} cell, {options.images} images, {options.seeds} seeds; {machine()}")


if __name__ == "__main__":
    main()
