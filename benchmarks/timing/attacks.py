"""What an attack costs: our engine against torchdeq behind the field's libraries.

    python -m benchmarks.timing.attacks [--rows pgd autoattack] [--cell slow stock wide]
    python -m benchmarks.timing.attacks --data mnist --root PATH --images 64

Both sides attack the same weights and images and are judged by one umpire (`verifier`), who shares
no solver with either. The seed of a repeat is its number. Evaluations are those of the cell,
forward and vector-Jacobian products together, per image; our confirmations by the deployed
predictor are among ours. Ratios are theirs over ours, repeat by repeat: median (lowest to highest).
CPU time is one thread's; `--wall` repeats everything on all cores, which tells nothing on a busy
machine. On a GPU wall time is what is measured. "At least as strong": the one-sided 95 % upper
bound of ours minus theirs in robust accuracy is at most the margin; it takes some 500 images for
that bound to be near the difference.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from benchmarks.timing.clock import Lap, Spread, machine, ratios, take_turns
from benchmarks.timing.contests import Contest, Outcome, autoattack, autoattack_strength, pgd
from benchmarks.timing.options import DIGITS, add_data, add_device
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject, subject_on
from benchmarks.timing.verifier import Strength, strength, survival
from robustdeq.data.base import Split
from robustdeq.precision import full_precision
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent, plain

Results = list[tuple[Outcome, Lap]]
COST = (
    "cell", "attack", "evaluations, theirs", "evaluations, ours", "ratio", "CPU ratio",
    "wall ratio",
)  # fmt: skip
STRENGTH = (
    "cell", "attack", "robust, theirs", "robust, ours", "only we break", "only they break",
    "upper bound", "margin", "at least as strong", "agreement", "of their seeds", "unconverged",
)  # fmt: skip
CONTESTS = MappingProxyType(
    {"pgd": pgd, "autoattack": autoattack, "autoattack-strength": autoattack_strength}
)


class Score(NamedTuple):
    """One of our rows against its opponent.

    Attributes:
        evaluations: theirs and ours, per image, mean over the repeats.
        fewer, cpu, wall: ratios of evaluations and of times.
        unconverged: answers of the umpire that missed its tolerance.
    """

    row: str
    evaluations: tuple[float, float]
    fewer: Spread
    cpu: Spread | None
    wall: Spread | None
    strength: Strength
    unconverged: int


@full_precision()
def meet(
    case: Subject, contest: Contest, split: Split, repeats: int, margin: float, wall: bool = False
) -> list[Score]:
    """Time and judge a contest on one thread, and time it once more on all; on a GPU once."""
    runs = {contest.theirs: contest.opponent, **contest.ours}
    on_one = take_turns(runs, repeats, 1)
    on_cpu, theirs = case.device.type == "cpu", on_one[contest.theirs]
    again = take_turns(runs, repeats, os.cpu_count() or 1) if wall and on_cpu else on_one
    waited = {row: (again[contest.theirs], again[row]) for row in contest.ours}
    waited = waited if wall or not on_cpu else {}
    their_survival, their_doubt = _judge(case, theirs, split)
    scores = []
    for row in contest.ours:
        ours = on_one[row]
        our_survival, our_doubt = _judge(case, ours, split)
        scores.append(
            Score(
                row,
                (mean(_evaluations(theirs)), mean(_evaluations(ours))),
                ratios(_evaluations(theirs), _evaluations(ours)),
                _ratio("cpu", theirs, ours) if on_cpu else None,
                _ratio("wall", *waited[row]) if waited else None,
                strength(our_survival, their_survival, margin),
                their_doubt + our_doubt,
            )
        )
    return scores


def _evaluations(results: Results) -> list[float]:
    return [found.evaluations for found, _ in results]


def _ratio(clock: str, theirs: Results, ours: Results) -> Spread:
    return ratios(*([getattr(lap, clock) for _, lap in each] for each in (theirs, ours)))


def _judge(case: Subject, results: Results, split: Split) -> tuple[np.ndarray, int]:
    """(seeds, n) who survives, and how many answers did not converge."""
    judged = [survival(case.model, found.candidates, split.labels) for found, _ in results]
    return np.stack([survived for survived, _ in judged]), sum(doubt for _, doubt in judged)


def cost_row(case: Subject, score: Score) -> list[str]:
    """A line of the table of costs."""
    theirs, ours = score.evaluations
    spreads = map(plain, (score.fewer, score.cpu, score.wall))
    return [case.name, score.row, f"{theirs:.0f}", f"{ours:.0f}", *spreads]


def strength_row(case: Subject, score: Score, margin: float) -> list[str]:
    """A line of the table of strengths, in per cent and points."""
    found = score.strength
    return [
        case.name, score.row, per_cent(found.theirs), per_cent(found.ours),
        str(len(found.only_ours)), str(len(found.only_theirs)), f"{100 * found.upper:+.1f}",
        per_cent(margin), "yes" if found.shown else "NO", per_cent(found.agreement),
        per_cent(found.floor), str(score.unconverged),
    ]  # fmt: skip


def run(
    cases: Sequence[Subject], rows: list[str], images: int, repeats: int, margin: float, wall: bool
) -> None:
    """Print the tables."""
    costs, strengths, notes = [], [], []
    for case in cases:
        split = case.data.test.take(images)
        for row in rows:
            contest = CONTESTS[row](case, split)
            notes.append(f"{case.name}: against {contest.theirs}")
            for score in meet(case, contest, split, repeats, margin, wall):
                costs.append(cost_row(case, score))
                strengths.append(strength_row(case, score, margin))
                if score.strength.only_theirs:
                    lost = ", ".join(map(str, score.strength.only_theirs))
                    notes.append(f"{case.name}, {score.row}: they alone break images {lost}")
    print(table(COST, costs, left=COST[:2]), end="\n\n")
    print(table(STRENGTH, strengths, left=STRENGTH[:2]), end="\n\n")
    print("\n".join([*notes, f"{images} images, {repeats} repeats; {machine()}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=tuple(CONTESTS), default=["pgd"])
    parser.add_argument("--cell", nargs="+", choices=tuple(SUBJECTS), default=["slow", "stock"])
    parser.add_argument("--images", type=int, default=128, help="how many test images")
    parser.add_argument("--repeats", type=int, default=2, help="with a seed each")
    parser.add_argument("--margin", type=float, default=0.01, help="of robust accuracy")
    parser.add_argument("--wall", action="store_true", help="time all cores as well")
    parser.add_argument("--tol", type=float, help="the opponent's, instead of its best")
    add_data(parser)
    add_device(parser)
    options = parser.parse_args()
    if options.data == DIGITS:
        cases = [find_subject(name) for name in options.cell]
    else:
        cases = [subject_on(options.data, options.root)]
    if options.tol is not None and options.tol <= 0:
        parser.error(f"--tol {options.tol}; expected a positive tolerance, such as 0.03")
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}; expected at least 1")
    if options.tol:
        cases = [replace(c, settings=replace(c.settings, tol=options.tol)) for c in cases]
    cases = [case.on(options.device) for case in cases]
    run(cases, options.rows, options.images, options.repeats, options.margin, options.wall)


if __name__ == "__main__":
    main()
