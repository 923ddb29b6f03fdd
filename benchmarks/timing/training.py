"""What adversarial training costs: our defense against torchdeq with torchattacks' PGD.

    python -m benchmarks.timing.training [--cell stock] [--steps 60] [--their-steps 10]
    python -m benchmarks.timing.training --data mnist --root PATH --steps 200
    python -m benchmarks.timing.training --epochs 24 --seeds 3

Both sides train the same network with the same recipe. Throughput, from one set of weights: on the
digits the trained ones, since an untrained cell is quick for everybody; on other data those that
our steps, timed from scratch, end with. The opponent warms up for two steps.

With `--epochs`, time to the target as well: the held-out robust accuracy that the opponent ends
with, against when either side first reaches it, both from scratch. CPU time of one thread; the
looks at the held-out images, one an epoch, are not counted on either side.
"""

import argparse
import copy
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from benchmarks.timing.clock import machine, torch_threads
from benchmarks.timing.contests import pgd_union
from benchmarks.timing.options import add_data, add_device, load_data
from benchmarks.timing.subjects import find_subject
from benchmarks.timing.trainer import Look, looks, pair, speed
from benchmarks.timing.verifier import Survival, survival
from robustdeq.data.base import DataSet, Split
from robustdeq.defenses.base import Task
from robustdeq.entrant import Entrant
from robustdeq.models.deq import DEQClassifier
from robustdeq.precision import full_precision
from robustdeq.results.boards.statistics import newcombe, paired_counts
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent
from robustdeq.training.central import build

WARM_UP = 2  # steps of the opponent that are not timed
MARGIN = 0.02  # of test robust accuracy, for time to target
RACE = (
    "seed", "target", "their CPU s", "our CPU s", "ratio", "test robust, theirs",
    "test robust, ours",
)  # fmt: skip


@dataclass(frozen=True)
class Race:
    """Both sides' trainings of one seed.

    Attributes:
        target: held-out robust accuracy that the opponent ends with.
        theirs, ours: the first looks at which each side has it; ours may be missing.
        their_survival, our_survival: of test images, by the opponent's last network and by ours.
    """

    target: float
    theirs: Look
    ours: Look | None
    their_survival: Survival
    our_survival: Survival


def race(ours: Entrant, theirs: Entrant, data: DataSet, test: Split) -> Race:
    """Train both to the end; ours is judged as it was when it first reached the target."""
    their_looks, our_looks = looks(theirs, data), looks(ours, data)
    target = their_looks[-1].robust
    first = [
        next((look for look in found if look.robust >= target), None)
        for found in (their_looks, our_looks)
    ]
    assert first[0] is not None
    finals = (their_looks[-1], first[1] or our_looks[-1])
    survivals = [
        _survival(entrant, look, data, test)
        for entrant, look in zip((theirs, ours), finals, strict=True)
    ]
    return Race(target, first[0], first[1], *survivals)


def race_row(seed: int, run: Race) -> list[str]:
    """A line of the table of races."""
    ours = f"{run.ours.cpu:.1f}" if run.ours else "never"
    ratio = f"{run.theirs.cpu / run.ours.cpu:.1f}" if run.ours else "-"
    return [
        str(seed), per_cent(run.target), f"{run.theirs.cpu:.1f}", ours, ratio,
        per_cent(float(run.their_survival.mean())), per_cent(float(run.our_survival.mean())),
    ]  # fmt: skip


def verdict(races: list[Race]) -> str:
    """Whether a speed-up may be claimed: ours not weaker on the test images, all seeds pooled."""
    theirs = np.concatenate([run.their_survival for run in races])
    ours = np.concatenate([run.our_survival for run in races])
    upper = newcombe(*paired_counts(theirs, ours), confidence=0.90).high
    allowed = upper <= MARGIN and all(run.ours for run in races)
    return (
        f"their test robust accuracy exceeds ours by at most {100 * upper:+.1f} points (one-sided "
        f"95 %); margin {100 * MARGIN:.0f}: {'a' if allowed else 'no'} speed-up may be claimed"
    )


def _survival(entrant: Entrant, look: Look, data: DataSet, test: Split) -> Survival:
    """Who of the test images survives PGD in both modes."""
    model = build(entrant, Task(data.shape, data.classes)).to(data.train.images.device)
    model.load_state_dict(look.weights)
    model.eval().requires_grad_(False)
    assert isinstance(model, DEQClassifier)
    return survival(model, pgd_union(entrant, model, data, test), test.labels)[0]


def throughput(cell: str, eps: Fraction | None, data: DataSet, steps: int, theirs: int) -> str:
    """Images per CPU second of both sides, from the same weights."""
    ours, opponent = pair(cell, eps)
    device = data.train.images.device
    trained = find_subject(cell).on(device)
    if torch.equal(trained.data.train.images, data.train.images):
        our_start, their_start = copy.deepcopy(trained.model), copy.deepcopy(trained.model)
    else:
        our_start = their_start = build(ours, Task(data.shape, data.classes)).to(device)
    fast = speed(ours, data, our_start, steps, 0)
    slow = speed(opponent, data, their_start, theirs, WARM_UP)
    clock = "CPU" if device.type == "cpu" else "wall"
    return (
        f"{fast:.1f} against {slow:.1f} images per {clock} second: ratio {fast / slow:.1f} "
        f"(ours {steps} steps, theirs {theirs} after {WARM_UP})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", choices=("stock", "slow"), default="stock")
    add_data(parser)
    parser.add_argument("--eps", type=Fraction, help="the Linf radius, by default the cell's")
    parser.add_argument("--steps", type=int, default=60, help="of ours that are timed")
    parser.add_argument("--their-steps", type=int, default=10, help="that are timed")
    parser.add_argument("--epochs", type=int, default=0, help="of a race to the target")
    parser.add_argument("--seeds", type=int, default=1, help="of the race")
    parser.add_argument("--images", type=int, default=200, help="of the test split, for the race")
    add_device(parser)
    options = parser.parse_args()
    data = load_data(options.data, options.root).to(options.device)
    with torch_threads(1), full_precision():
        print(throughput(options.cell, options.eps, data, options.steps, options.their_steps))
        test = data.test.take(options.images)
        races = [
            race(*pair(options.cell, options.eps, options.epochs, seed), data, test)
            for seed in range(options.seeds if options.epochs else 0)
        ]
    if races:
        print(table(RACE, [race_row(seed, each) for seed, each in enumerate(races)]))
        print(verdict(races))
    print(f"{options.cell} cell on {options.data}; {machine()}")


if __name__ == "__main__":
    main()
