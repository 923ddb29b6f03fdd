"""One-sided exact binomial tests: whether a share that was counted can be chance."""

from scipy.special import bdtr, bdtrc

CHANCE = 0.01  # the p value up to which a figure is no chance: the family-wise level of an audit


def exceeds(count: int, n: int, share: float) -> float:
    """P(X >= count) under Binomial(n, share): small where `count` of n is too many."""
    return 1.0 if count == 0 else float(bdtrc(count - 1, n, share))


def falls_short(count: int, n: int, share: float) -> float:
    """P(X <= count) under Binomial(n, share): small where `count` of n is too few."""
    return float(bdtr(count, n, share))
