"""The white-box union, and the test of what somebody else breaks that it does not."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.pgd import PGD
from robustdeq.audits.base import Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.evaluation.crafting import Crafter
from robustdeq.evaluation.protocol import Column, Stage
from robustdeq.evaluation.union import every_target, runnable, white_box

POINT = 0.01  # the smallest difference of two accuracies that counts
_BATCH = 128


def cut(case: Case, index: Int[Tensor, " m"]) -> Case:
    """The same case on some of its images."""
    left = None if case.left is None else case.left[index]
    x, y, rows = case.x[index], case.y[index], case.rows[index]
    return replace(case, x=x, y=y, rows=rows, left=left)


def first(case: Case, count: int) -> Case:
    """The same case on its first `count` images."""
    return cut(case, torch.arange(min(count, len(case.y)), device=case.y.device))


def reaches(case: Case) -> bool:
    """Whether any gradient reaches the input of the default surface."""
    return bool(usable(case, (Stage(PGD()),)))


def usable(case: Case, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The gradient attacks that can be run: those for which a gradient reaches the input."""
    return runnable(stages, case.target, case.x, case.y, case.rows, case.judge.salt)


def union(case: Case) -> tuple[Stage, ...]:
    """The white-box union, as far as it can be run; not weaker than what boards require."""
    stages = (*white_box(case.target, case.judge.randomised), *every_target(case.target))
    return usable(case, stages)


def remaining(
    case: Case,
    stages: tuple[Stage, ...],
    attacked: Bool[Tensor, " n"] | None = None,
    rerun: int = 0,
) -> Float[Tensor, " n"]:
    """How often each image is right after these stages: 0 or 1, or a share of a defence's draws.

    Args:
        attacked: the images to attack, the others count 0; by default all that there are to lose.
        rerun: 0, or the number of a repetition, which has draws of its own.
    """
    judge, x, y, rows = case.judge, case.x, case.y, case.rows
    if attacked is None:
        attacked = judge.attackable(x, y, rows)
    if not stages:
        return attacked * judge.survival(x, y, rows, attacked)
    seed = case.noise.child("union", rerun).seed
    craft = Crafter(case.target, judge, case.threat, _BATCH, lambda done, total: None)
    crafted = craft(Column("union", stages, (seed,)), seed, x, y, attacked)
    return attacked * judge.survival(crafted.x, y, rows, crafted.standing)


def mostly(shares: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which images are right, more often than not where that is a matter of draws."""
    return shares > 0.5


def left_by_union(case: Case) -> Float[Tensor, " n"]:
    """How often each image is right after the white-box union, attacked where that is not known."""
    if case.left is not None:
        return case.left
    return case.once("union", lambda: remaining(case, union(case)))


def survivors(case: Case) -> Bool[Tensor, " n"]:
    """Which images withstand the white-box union."""
    return mostly(left_by_union(case))


def survivors_again(case: Case) -> Bool[Tensor, " n"]:
    """Which of the survivors withstand the same union once more, with draws of its own."""
    standing = survivors(case)
    again = case.once("union, once more", lambda: remaining(case, union(case), standing, rerun=1))
    return mostly(again)


def beats(only_outsider: int, only_rerun: int, n: int) -> tuple[float, float]:
    """How many more of n images an outsider adds to a union than a rerun of it, and the p of that.

    The counts are discordant pairs: images that one of the two breaks and the other does not. The
    p is the one-sided exact one (McNemar, 1947, Psychometrika 12:153). An attack of another seed
    always breaks some more images; only against that does an addition say anything.
    """
    p = exceeds(only_outsider, only_outsider + only_rerun, 0.5)
    return (only_outsider - only_rerun) / n, p


def against_rerun(case: Case, flag: str, outsider: str, broken: Bool[Tensor, " n"]) -> Measure:
    """Whether an outsider that broke images which withstood the white-box union is a warning.

    The union is attacked with another seed only where there is something to hold it against.

    Args:
        outsider: its name, for the detail.
        broken: which of the union's survivors the outsider broke.
    """
    standing = survivors(case)
    n, stood = len(case.y), int(standing.sum())
    if not bool(broken.any()):
        detail = f"{outsider} broke none of the {stood} of {n} images that withstood the union"
        return Measure(flag, 0.0, POINT, False, detail, 1.0)
    again = standing & ~survivors_again(case)
    difference, p = beats(int((broken & ~again).sum()), int((again & ~broken).sum()), n)
    detail = (
        f"{outsider} broke {int(broken.sum())} of the {stood} of {n} images that withstood the "
        f"union, another seed of the union {int(again.sum())}"
    )
    return Measure(flag, difference, POINT, difference >= POINT and p <= CHANCE, detail, p)
