"""One-sided exact tests: whether a share that was counted can be chance."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from scipy.special import bdtr, bdtrc
from scipy.stats import hypergeom

CHANCE = 0.01  # the p value up to which a figure is no chance: the family-wise level of an audit
DOUBT = 0.05  # the risk of stopping early where going on to the end would have raised a flag


def exceeds(count: int, n: int, share: float) -> float:
    """P(X >= count) under Binomial(n, share): small where `count` of n is too many."""
    return 1.0 if count == 0 else float(bdtrc(count - 1, n, share))


def falls_short(count: int, n: int, share: float) -> float:
    """P(X <= count) under Binomial(n, share): small where `count` of n is too few."""
    return float(bdtr(count, n, share))


def settled(missed: int, asked: int, n: int, share: float) -> bool:
    """Whether a test that `share` of n are found needs no more than the `asked` ones to pass.

    Too many to be chance is at least some number of misses. The test is over where that cannot be
    reached any more; and where, if just so many of the n were misses, so few among those that were
    asked would be seen with a probability of 5 % at most.
    """
    few = (m for m in range(n + 1) if falls_short(n - m, n, share) <= CHANCE)
    least = next(few, n + 1)
    if missed + n - asked < least:
        return True
    return float(hypergeom.cdf(missed, n, least, asked)) <= DOUBT


def stands_out(
    right: Bool[ndarray, "versions n"], there: Bool[ndarray, "versions n"]
) -> tuple[float, float, int, int]:
    """How much oftener the first version of each of n items is right than its other versions.

    The fall is the mean over the items of the first's outcome less the others' mean. Its p is that
    of as many firsts right or more, had each version been the first with equal chance: a
    permutation test within each item, in which the number of firsts is Poisson-binomial.

    Args:
        there: which outcomes there are; an item without its first, or any other one, says nothing.

    Returns:
        The fall, its p, how many firsts are right, and of how many items.
    """
    told = there[0] & there[1:].any(0)
    right, there = (right & there)[:, told], there[:, told]
    chances = np.ones(1)
    for share in right.sum(0) / there.sum(0):
        chances = np.convolve(chances, [1 - share, share])
    count, n = int(right[0].sum()), int(told.sum())
    fall = (count - (right[1:].sum(0) / there[1:].sum(0)).sum()) / max(n, 1)
    return float(fall), min(float(chances[count:].sum()), 1.0), count, n
