"""The opponent's best settings, chosen on held-out images.

    python -m benchmarks.timing.tune [--cell slow] [--images 128]

The fastest of a grid among those whose attack leaves at most one point more than the strongest
does. What it chooses stands in `subjects`; the tables are of test images.
"""

import argparse
import itertools
from dataclasses import replace
from typing import NamedTuple

from benchmarks.timing.clock import machine, take_turns
from benchmarks.timing.contests import library_run
from benchmarks.timing.opponents import Settings, library_pgd
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject
from benchmarks.timing.verifier import survival
from robustdeq.data.base import Split
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent

SLACK = 0.01  # of robust accuracy, given away for speed


class Tried(NamedTuple):
    """What one setting cost and achieved."""

    settings: Settings
    cpu: float
    evaluations: float
    robust: float


def grid() -> list[Settings]:
    """torchdeq's two usable solvers, four tolerances, three batch sizes.

    Its Broyden method spends over three quarters of its time outside the cell and is left out.
    """
    choices = itertools.product(
        ("fixed_point_iter", "anderson"), (1e-1, 3e-2, 1e-2, 1e-3), (32, 64, 128)
    )
    return [Settings(*choice) for choice in choices]


def tune(case: Subject, split: Split, choices: list[Settings], steps: int = 20) -> list[Tried]:
    """Attack the split under every setting."""
    runs = {
        str(settings): library_run(
            replace(case, settings=settings), split, library_pgd(steps, case.threat)
        )
        for settings in choices
    }
    tried = []
    for settings, results in zip(choices, take_turns(runs, 1, threads=1).values(), strict=True):
        ((found, lap),) = results
        survived, _ = survival(case.model, found.candidates, split.labels)
        tried.append(Tried(settings, lap.cpu, found.evaluations, float(survived.mean())))
    return tried


def best(tried: list[Tried]) -> Tried:
    """The fastest of those that are strong enough."""
    strongest = min(each.robust for each in tried)
    return min((each for each in tried if each.robust <= strongest + SLACK), key=lambda t: t.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", choices=tuple(SUBJECTS), default="slow")
    parser.add_argument("--images", type=int, default=128, help="how many held-out images")
    options = parser.parse_args()
    case = find_subject(options.cell)
    tried = tune(case, case.data.held_out.take(options.images), grid())
    quickest = min(each.cpu for each in tried)
    rows = [
        [str(t.settings), f"{t.cpu / quickest:.2f}", f"{t.evaluations:.0f}", per_cent(t.robust)]
        for t in tried
    ]
    header = ("settings", "CPU, of the quickest", "evaluations", "robust")
    print(table(header, rows, left=header[:1]))
    print(f"\n{case.name}: {best(tried).settings}\n{options.images} images; {machine()}")


if __name__ == "__main__":
    main()
