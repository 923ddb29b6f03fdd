"""The white-box union, and the test of what somebody else breaks that it does not."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.pgd import PGD
from robustdeq.audits.base import Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.evaluation.attack import attack
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.union import every_target, runnable, white_box

POINT = 0.01  # the smallest difference of two accuracies that counts
_SPARE = 1  # images that any further search may break


def cut(case: Case, index: Int[Tensor, " m"]) -> Case:
    """The same case on some of its images."""
    left = None if case.left is None else case.left[index]
    return replace(case, samples=case.samples.select(index), left=left)


def first(case: Case, count: int) -> Case:
    """The same case on its first `count` images."""
    return cut(case, torch.arange(min(count, len(case.y)), device=case.y.device))


def reaches(case: Case) -> bool:
    """Whether any gradient reaches the input of the default surface."""
    return bool(usable(case, (Stage(PGD()),)))


def usable(case: Case, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The gradient attacks that can be run: those for which a gradient reaches the input."""
    return runnable(stages, case.target, case.samples, case.judge.salt)


def union(case: Case) -> tuple[Stage, ...]:
    """The white-box union, as far as it can be run; not weaker than what boards require.

    A search of the likeliest targets is left out where every target is searched, through the steps.
    """
    every = every_target(case.target)
    stages = white_box(case.target, case.judge.randomised)
    if every:
        stages = tuple(stage for stage in stages if not _targeted(stage))
    return usable(case, (*stages, *every))


def _targeted(stage: Stage) -> bool:
    return isinstance(stage.attack, APGD) and stage.attack.targets > 0


def remaining(
    case: Case,
    stages: tuple[Stage, ...],
    attacked: Bool[Tensor, " n"] | None = None,
    rerun: int = 0,
) -> Float[Tensor, " n"]:
    """How often each image is right after these stages: 0 or 1, or a share of a defense's draws.

    Args:
        attacked: the images to attack, the others count 0; by default all that there are to lose.
        rerun: 0, or the number of a repetition, which has draws of its own.
    """
    seed = case.noise.child("union", rerun).seed
    found = attack(case.target, case.judge, case.samples, case.threat, stages, seed, attacked)
    return found.attacked * found.survival


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


def could_count(broken: int, n: int) -> bool:
    """Whether an outsider's count is a warning if no rerun of the union breaks any: from 7 on."""
    difference, p = beats(broken, 0, n)
    return difference >= POINT and p <= CHANCE


def broken_by(
    case: Case,
    outsider: str,
    glance: Callable[[Bool[Tensor, " n"]], Float[Tensor, " n"]],
    whole: Callable[[Bool[Tensor, " n"]], Float[Tensor, " n"]],
) -> Bool[Tensor, " n"]:
    """Which of the union's survivors an outsider breaks, and whole only where there is suspicion.

    A count is a warning from 7 images on. An outsider that is to break so many breaks two of them
    at a fraction of its budget; where it does not, or fewer than 7 survived, the rest is not spent.

    Args:
        glance, whole: how often each image is right after the fraction, and after all of the
            outsider's budget, spent on the images marked.
    """
    standing = survivors(case)
    left = standing & mostly(case.once(f"{outsider}, at a glance", lambda: glance(standing)))
    found, stood = int((standing & ~left).sum()), int(standing.sum())
    if found > _SPARE and could_count(stood, len(case.y)):
        left &= mostly(case.once(outsider, lambda: whole(left)))
    return standing & ~left


def against_rerun(
    case: Case, flag: str, outsider: str, broken: Bool[Tensor, " n"], limit: float = POINT
) -> Measure:
    """Whether an outsider that broke images which withstood the white-box union is a warning.

    The union is attacked with another seed only where there is something to hold against it.

    Args:
        outsider: its name, for the detail.
        broken: which of the union's survivors the outsider broke.
        limit: share of the images from which on the surplus counts.
    """
    n, stood, count = len(case.y), int(survivors(case).sum()), int(broken.sum())
    detail = f"{outsider} broke {count} of the {stood} of {n} images that withstood the union"
    if not could_count(count, n):
        difference, p = beats(count, 0, n)
        return Measure(flag, difference, limit, False, detail, p)
    again = survivors(case) & ~survivors_again(case)
    difference, p = beats(int((broken & ~again).sum()), int((again & ~broken).sum()), n)
    detail += f", another seed of the union {int(again.sum())}"
    return Measure(flag, difference, limit, difference >= limit and p <= CHANCE, detail, p)
