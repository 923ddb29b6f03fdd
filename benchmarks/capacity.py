"""What do distinct masks, and full backpropagation, give a weight-tied network?

    python -m benchmarks.capacity [--seeds 3] [--out PAGE]

First the claim that one sparse mask for each application raises the capacity of tied weights, with
one mask for all applications as the control: loss on the training images after a fixed number of
epochs, clean-trained, at a narrow width. Then one network of a fixed depth, trained with four
gradients; their cost is the CPU time of an optimiser step, measured in turn, round after round.
What is finished is kept below `runs/capacity`; the same command goes on with the rest.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.claims import CLAIM, paired, spread, tally, verdict
from benchmarks.pages import page_parser, parsed, publish
from benchmarks.trainings import Plan, counts
from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.implicit import Implicit
from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Defense
from robustdeq.defenses.sparse_weight_tied import SparseWeightTied
from robustdeq.defenses.weight_tied import WeightTied
from robustdeq.results.formats.markdown import table

SIZES = ((8, 4), (8, 16))  # channels and depth L; injections need a multiple of 8
DENSITIES = (0.5, 0.25)
TIED = WeightTied(channels=8, depth=16)
GRADIENTS: tuple[Adjoint, ...] = (ThroughSolver(), Unrolled(), JacobianFree(), Implicit())

Key = tuple[int, int, str, float]  # channels, L, masks, density
Figures = list[dict[str, float]]  # one training seed after the other
_NO_MASK = ("none", 1.0)


def networks() -> dict[Key, SparseWeightTied]:
    """The grid; at density 1 nothing is masked."""
    grid = {}
    for channels, depth in SIZES:
        dense = SparseWeightTied(channels, depth, density=1.0, masks="shared")
        grid[channels, depth, *_NO_MASK] = dense
        for density in DENSITIES:
            grid[channels, depth, "shared", density] = replace(dense, density=density)
            distinct = replace(dense, density=density, masks="distinct")
            grid[channels, depth, "distinct", density] = distinct
    return grid


def losses(figures: Mapping[Key, Figures]) -> dict[Key, np.ndarray]:
    """Training losses by seed."""
    return {key: np.array([each["loss"] for each in seeds]) for key, seeds in figures.items()}


def masks_claims(loss: Mapping[Key, np.ndarray]) -> list[list[str]]:
    """Distinct masks against one shared mask and against none: differences of training loss."""
    lines, pooled = [], {"one shared mask": [], "no mask": []}
    for (channels, depth), density in ((size, d) for size in SIZES for d in DENSITIES):
        distinct = loss[channels, depth, "distinct", density]
        for name, control in zip(pooled, (("shared", density), _NO_MASK), strict=True):
            pooled[name].append(distinct - loss[channels, depth, *control])
            claim = f"distinct below {name}: {channels} channels, L {depth}, density {density}"
            lines.append([claim, *verdict(*paired(pooled[name][-1]), -1)])
    for name, differences in pooled.items():
        mean = paired(np.mean(differences, axis=0))
        lines.append([f"distinct below {name}: mean of the above", *verdict(*mean, -1)])
    return lines


def depth_claims(loss: Mapping[Key, np.ndarray]) -> list[list[str]]:
    """What more applications do: differences of training loss."""
    (channels, low), (_, high) = SIZES[:2]
    dense, half, sparse = (
        loss[channels, high, *masks] - loss[channels, low, *masks]
        for masks in (_NO_MASK, *(("distinct", density) for density in DENSITIES))
    )
    more, less = DENSITIES
    return [
        [f"no mask: L {high} is worse than L {low}", *verdict(*paired(dense), 1)],
        [f"distinct {more} loses less by it", *verdict(*paired(half - dense), -1)],
        [f"distinct {less} loses less by it than {more}", *verdict(*paired(sparse - half), -1)],
    ]


def gradients(plan: Plan) -> tuple[list[list[str]], list[list[str]]]:
    """The table of the four gradients, and the paired differences of accuracy to the full one."""
    defenses: dict[str, Defense] = {
        adjoint.plugin_name(): replace(TIED, adjoint=adjoint) for adjoint in GRADIENTS
    }
    figures = {name: plan.trained(defense) for name, defense in defenses.items()}
    seconds, full = plan.seconds(defenses), GRADIENTS[0].plugin_name()
    rows, claims = [], []
    for name, found in figures.items():
        loss, right, residual = (
            np.array([each[key] for each in found]) for key in ("loss", "right", "residual")
        )
        ratio = np.divide(seconds[full], seconds[name])
        milliseconds = 1000 * float(np.median(seconds[name]))
        dearer = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        accuracy, residuals = spread(100 * right, 1), f"{np.median(residual):.1e}"
        rows.append([name, spread(loss), accuracy, residuals, f"{milliseconds:.0f}", dearer])
        if name != full:
            difference = paired([each["right"] for each in figures[full]] - right)
            claims.append([f"full above {name}, points", *verdict(*difference, 1, unit=100)])
    return rows, claims


def page(plan: Plan) -> str:
    """The report in Markdown; trains what is missing."""
    grid, rows = networks(), []
    figures = {key: plan.trained(network) for key, network in grid.items()}
    for key, network in grid.items():
        loss, right = (np.array([each[name] for each in figures[key]]) for name in _GRID[-2:])
        rows.append([*map(str, key), *counts(network), spread(loss), spread(100 * right, 1)])
    loss = losses(figures)
    of_masks, of_depth = masks_claims(loss), depth_claims(loss)
    by_gradient, by_accuracy = gradients(plan)
    left = (CLAIM[0], CLAIM[-1])
    return _PAGE.format(
        plan=plan,
        tied=f"{TIED.channels} channels, L = {TIED.depth}",
        grid=table([*_GRID[:-2], "train loss", "test, %"], rows, left=("masks",)),
        masks=table(CLAIM, of_masks, left),
        depths=table(CLAIM, of_depth, left),
        tally=tally(of_masks + of_depth),
        gradients=table(_GRADIENTS, by_gradient, _GRADIENTS[:1]),
        accuracies=table(CLAIM, by_accuracy, left),
        full=tally(by_accuracy),
    )


_GRID = ("channels", "L", "masks", "density", "stored", "live", "multiply-adds", "loss", "right")
_GRADIENTS = ("gradient", "train loss", "test, %", "residual", "CPU ms a step", "full / it")
_PAGE = """# What distinct masks and full backpropagation give a weight-tied network

500 test digits, clean-trained, {plan.epochs} epochs with the weights of the last one,
{plan.seeds} training seeds; mean ± standard deviation over seeds. Intervals are 95 % t intervals of
differences paired by seed, and not corrected for the number of claims: "not reproduced at this
scale" means that theirs holds 0. Nothing was tuned, and the learning rate is the same for every L.

`python -m benchmarks.capacity`

## Distinct masks against one shared mask

`sparse-weight-tied`; masks are drawn anew for each seed. Stored and live parameters and
multiply-adds are the body's, the latter if zeros were skipped, which dense code does not do. After
so few epochs a training loss is a matter of speed as much as of capacity.

{grid}

What Song, Majumder and Lin (2023) claim of distinct masks, as differences of the training loss:

{masks}

That depth asks for sparser masks, as differences of the training loss:

{depths}

{tally}

## Full backpropagation against cheaper gradients

`weight-tied`, {tied}; the forward pass is the same. `through-solver` is the full
gradient, `unrolled` goes back through 5 further steps, `jacobian-free` through one, and `implicit`
solves for the gradient of an equilibrium. The residual is the median over the test images of
|f(z) - z| / |f(z)| at z_L. CPU time is that of one optimiser step on 64 images with one thread, in
turn over {plan.rounds} rounds of {plan.steps} steps beside other work on the machine: the median,
and of the full one's to it the median and the range over rounds.

{gradients}

{accuracies}

{full}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds, at least 2")
    options = parsed(parser, least_seeds=2)
    publish(page(Plan(options.seeds)), options)


if __name__ == "__main__":
    main()
