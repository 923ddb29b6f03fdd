"""What a measured difference says of a claim, in one word and with its interval."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from robustdeq.results.boards.statistics import (
    Difference,
    Interval,
    difference_of_defenses,
    newcombe,
    paired_counts,
)

CLAIM = ("claim", "difference", "95 % interval", "verdict")  # the header of a table of verdicts


def paired(differences: ArrayLike, confidence: float = 0.95) -> tuple[float, Interval]:
    """The mean of differences, one a seed, and its t interval (Student 1908)."""
    each = np.asarray(differences, dtype=float)
    half = each.std(ddof=1) / len(each) ** 0.5 * stdtrit(len(each) - 1, 0.5 + confidence / 2)
    mean = float(each.mean())
    return mean, Interval(mean - half, mean + half)


def difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> Difference:
    """a minus b of verdicts (seeds, images), seed by seed from the same initial weights.

    One pair of networks has the interval of the sample of images alone (Newcombe 1998).
    """
    first, second = np.concatenate(a), np.concatenate(b)
    if len(first) > 1:
        return difference_of_defenses(first, second, paired=True)
    estimate = float(first.mean() - second.mean())
    return Difference(estimate, newcombe(*paired_counts(first[0], second[0])), float("nan"))


def verdict(estimate: float, interval: Interval, claimed: int, unit: float = 1.0) -> list[str]:
    """Three cells: the difference, its interval, and whether what is claimed appears.

    Args:
        claimed: +1 where the claim is that the difference is above 0, -1 where below.
        unit: that figures are multiplied by: 100 for points.
    """
    text, low, high = (f"{unit * value:+.3g}" for value in (estimate, *interval))
    if interval.low <= 0 <= interval.high:
        return [text, f"{low} to {high}", "not reproduced at this scale"]
    return [text, f"{low} to {high}", "appears" if claimed * estimate > 0 else "reversed"]


def tally(lines: Sequence[Sequence[str]]) -> str:
    """How many lines that end with a verdict have each, in a sentence."""
    counts = Counter(line[-1] for line in lines)
    said = ", ".join(f"{counts[word]} {word}" for word in sorted(counts))
    return f"Of {len(lines)} claims: {said}."


def spread(values: ArrayLike, digits: int = 3) -> str:
    """Mean and standard deviation; of one value, the value."""
    each = np.atleast_1d(values)
    mean = f"{each.mean():.{digits}f}"
    return mean if len(each) == 1 else f"{mean} ± {each.std(ddof=1):.{digits}f}"
