"""The exact pass that a column in fast mode is followed by where its short cuts lose successes."""

from dataclasses import replace

from torch import Tensor

from robustdeq.evaluation.checks import Finding
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.crafting import Crafted, Crafter
from robustdeq.evaluation.remote import ask
from robustdeq.progress import unseen
from robustdeq.samples import Samples
from robustdeq.surrogates.base import needs_equilibrium
from robustdeq.surrogates.defended import Defended

GAP = 0.01  # of the attacked slice, by which exact mode may break more than a second fast run does


def crafted_and_checked(
    craft: Crafter, samples: Samples, seed: int, attacked: Tensor
) -> tuple[Crafted, list[Finding]]:
    """The candidates of some stages; where they are in fast mode, held against the exact ones.

    Whoever it leaves standing is attacked twice more, with the same stages in exact mode and, since
    any second run breaks a few, in fast mode. If the exact run breaks more by over a hundredth of
    all images, the finding `fast-exceeds-exact` says so and what it broke stays broken. Otherwise
    both leave no trace.
    """
    crafted = craft(samples, seed, attacked)
    exact = tuple(map(_exactly, craft.stages))
    if (
        exact == craft.stages
        or not craft.goal.settles
        or ask(craft.target, needs_equilibrium) is not None
    ):
        return crafted, []
    fast_again = replace(craft, progress=unseen)
    again, slowly = (
        run(samples, seed + 1, crafted.standing)
        for run in (fast_again, replace(fast_again, stages=exact))
    )
    lost = [crafted.standing & ~run.standing for run in (again, slowly)]
    by_fast, by_exact = (int(rows.sum()) for rows in lost)
    if (by_exact - by_fast) / len(samples) <= GAP:
        return crafted, []
    crafted.x[lost[1]], crafted.damage[lost[1]] = slowly.x[lost[1]], slowly.damage[lost[1]]
    crafted.standing &= slowly.standing
    crafted.cost.book(slowly.cost)
    detail = f"exact mode breaks {by_exact} more, a second fast run {by_fast}, of {len(samples)}"
    return crafted, [Finding("fast-exceeds-exact", detail)]


def _exactly(stage: Stage) -> Stage:
    view = stage.surrogate
    if isinstance(view, Defended) and view.mode == "fast":
        return replace(stage, surrogate=replace(view, mode="exact"))
    return stage
