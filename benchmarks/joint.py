"""Is joint inference and input optimisation as strong as exact PGD, and how much cheaper?

    python -m benchmarks.joint [--cell slow stock] [--images 500] [--seeds 3] [--out FILE]

JIIO takes 40 joint rounds from the clean image, on the fast view, and 3 exact PGD steps from where
it ends; PGD takes 20, 40 or 80 steps on the exact view, warm-started and compacted. Both drop a row
once the deployed predictor has lost it, and both are judged by that predictor on every test image
and seed. Evaluations of the cell and products with its Jacobian count alike. JIIO is compared with
PGD at the number of steps that left the fewest images right.

"At least as strong": the one-sided 95 % upper bound of JIIO's accuracy minus PGD's, over pairs of
an image and a seed with the image as the unit, is at most 1 point.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.pages import page_parser, parsed, publish
from benchmarks.timing.contests import CHUNK
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import Split
from robustdeq.evaluation.judge import Judge
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended

ROUNDS, POLISHING, MARGIN = 40, 3, 0.01
STEPS = (20, 40, 80)
HEADER = ("cell", "attack", "robust", "least to most", "evaluations", "ratio", "upper bound",
          "at least as strong")  # fmt: skip


class Run(NamedTuple):
    """Who survived an attack, (seeds, n), and its evaluations per image and seed."""

    right: NDArray[np.bool_]
    evaluations: float


@dataclass(frozen=True)
class Contender:
    """An attack of two phases: some attack on one view, then exact steps from where it ended."""

    name: str
    attack: PGD | JIIO
    view: Defended
    polishing: int = 0

    def run(self, case: Subject, split: Split, seeds: int) -> Run:
        """Attack every image under every seed, from a cold start."""
        judge, rows, verdicts, spent = Judge(case.target, CHUNK), torch.arange(len(split)), [], 0
        for seed in range(seeds):
            noise = NoiseStream(seed).child(self.name)
            first, exact = self.view.bind(case.target, noise), Defended().bind(case.target, noise)
            found = torch.cat(
                [self._candidates(first, exact, case, split, s, noise) for s in rows.split(CHUNK)],
                dim=1,
            )
            samples = split.samples()
            right = [judge(samples.moved(x)).right for x in (split.images, *found)]
            verdicts.append(torch.stack(right).all(0).numpy())
            spent += sum(
                each.surface.cost.counts[name]
                for each in (first, exact)
                for name in ("forward", "vjp")
            )
        return Run(np.stack(verdicts), spent / (seeds * len(split)))

    def _candidates(
        self, first: Approach, exact: Approach, case: Subject, split: Split, rows: Tensor,
        noise: NoiseStream,
    ) -> Tensor:  # fmt: skip
        x, y = split.images[rows], split.labels[rows]
        samples = Samples(x, y, rows)
        found = self.attack.perturb(first, samples, case.threat, noise)[:1]
        left = (~exact.confirm(samples.moved(found[0]))).nonzero()[:, 0]
        current, last = found[0, left], found[0].clone()
        for _ in range(self.polishing if len(left) else 0):
            reading = exact.surface.value_and_grad(
                samples.select(left).moved(current), CrossEntropy()
            )
            assert reading.gradient is not None
            step = float(case.threat.eps * PGD().step) * case.threat.steepest(reading.gradient)
            current = case.threat.project(current + step, x[left])
        last[left] = current
        return torch.stack([found[0], last])


def contenders() -> list[Contender]:
    """Ours, and PGD at each number of steps."""
    joint = JIIO(rounds=ROUNDS, random_start=False)
    ours = Contender(f"JIIO-{ROUNDS} + {POLISHING}", joint, Defended(mode="fast"), POLISHING)
    return [ours, *(Contender(f"PGD-{n}, exact", PGD(steps=n), Defended()) for n in STEPS)]


def upper_bound(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """One-sided 95 % bound of ours minus theirs, both (seeds, n), with images as the units."""
    difference = (ours.astype(float) - theirs).mean(0)
    return float(difference.mean() + 1.645 * difference.std(ddof=1) / math.sqrt(len(difference)))


def lines(case: Subject, runs: dict[str, Run]) -> list[list[str]]:
    """The table's lines of one cell; the first run is ours."""
    (_, ours), *rest = runs.items()
    best = min(rest, key=lambda each: each[1].right.mean())[0]
    bound, cells = upper_bound(ours.right, runs[best].right), []
    for name, run in runs.items():
        each = run.right.mean(1)
        compared = run is ours
        cells.append([
            case.name, name + (", the best" if name == best else ""),
            per_cent(float(run.right.mean())), f"{per_cent(each.min())} to {per_cent(each.max())}",
            f"{run.evaluations:.0f}", f"{run.evaluations / ours.evaluations:.1f}",
            f"{100 * bound:+.1f}" if compared else "-",
            ("yes" if bound <= MARGIN else "no") if compared else "-",
        ])  # fmt: skip
    return cells


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--cell", nargs="+", choices=tuple(SUBJECTS), default=["slow", "stock"])
    parser.add_argument("--images", type=int, default=500, help="how many test images")
    parser.add_argument("--seeds", type=int, default=3, help="random starts of each attack")
    options = parsed(parser)
    rows = []
    for cell in options.cell:
        case = find_subject(cell)
        split = case.data.test.take(options.images)
        each = tqdm(contenders(), desc=cell, leave=False)
        rows += lines(case, {c.name: c.run(case, split, options.seeds) for c in each})
    page = "\n\n".join([
        "# Joint inference and input optimisation against exact PGD",
        f"{options.images} test digits, {options.seeds} seeds. Evaluations (of the cell, and "
        f"products with its Jacobian) per image; the ratio is to JIIO's. The bound is of JIIO's "
        f"accuracy minus that of the best PGD, in points; margin {100 * MARGIN:.0f}.",
        table(HEADER, rows, left=HEADER[:2]),
    ])  # fmt: skip
    publish(page, options)


if __name__ == "__main__":
    main()
