"""Intervals and tests for accuracies, each a pure function of per-image verdicts.

A verdict is 1 where the image survives and 0 where it does not (or the fraction of draws it
survives). Two sources of chance are kept apart: the training seed and the sample of images.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, ndtri, stdtr, stdtrit


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """An estimated difference of two accuracies, its 95 % interval and two-sided p."""

    estimate: float
    interval: Interval
    p: float


def wilson(k: int | float, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a proportion k/n (Wilson, 1927, J. Am. Stat. Assoc. 22:209).

    With z the normal quantile: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    z = float(ndtri(0.5 + confidence / 2))
    p = k / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    low = 0.0 if k == 0 else (centre - half) / scale
    high = 1.0 if k == n else (centre + half) / scale
    return Interval(low, high)


def upper_bound(k: int, n: int, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound of a proportion k/n (Clopper and Pearson 1934)."""
    return 1.0 if k == n else float(betaincinv(k + 1, n - k, confidence))


def defense_interval(verdicts: ArrayLike) -> Interval:
    """The 95 % interval of a defense's accuracy over new training seeds and new images.

    verdicts (S, n). The variance of the mean is s²/S + u²/n, s² that of the S per-seed
    accuracies and u² that of the n seed-averaged verdicts; the t quantile has Satterthwaite's
    degrees of freedom (1946, Biometrics Bull. 2:110). Clipped to [0, 1] and never narrower than
    Wilson at n, which is also the answer for one seed: a t interval over three seeds alone covers
    far too little when they happen to agree.
    """
    verdicts = np.atleast_2d(np.asarray(verdicts, dtype=float))
    seeds, n = verdicts.shape
    mean = float(verdicts.mean())
    floor = wilson(mean * n, n)
    if seeds == 1:
        return floor
    parts = [
        (float(verdicts.mean(1).var(ddof=1)) / seeds, seeds - 1),
        (float(verdicts.mean(0).var(ddof=1)) / n, n - 1),
    ]
    half = _half_width(parts)
    return Interval(max(0.0, min(mean - half, floor.low)), min(1.0, max(mean + half, floor.high)))


def difference_of_defenses(a: ArrayLike, b: ArrayLike, paired: bool = False) -> Difference:
    """Compare two defenses, each over at least two training seeds, on the same images.

    a (S_a, n), b (S_b, n). Welch (1947, Biometrika 34:28) on the per-seed accuracies, with the
    variance over images of the seed-averaged per-image difference, over n, added: seeds and images
    are both samples. `paired` where row s of both has the same weights: then the per-seed
    differences take the place of Welch's two terms. Degrees of freedom after Satterthwaite.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n = a.shape[1]
    per_image = a.mean(0) - b.mean(0)
    accuracies = [a.mean(1) - b.mean(1)] if paired else [a.mean(1), b.mean(1)]
    parts = [(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in accuracies]
    parts.append((float(per_image.var(ddof=1)) / n, n - 1))
    estimate = float(per_image.mean())
    half = _half_width(parts)
    interval = Interval(max(-1.0, estimate - half), min(1.0, estimate + half))
    return Difference(estimate, interval, _two_sided_p(estimate, parts))


def difference_over_images(a: ArrayLike, b: ArrayLike) -> Difference:
    """Compare two checkpoints whose verdicts are shares of draws, a and b (n,): a paired t test."""
    gaps = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n = len(gaps)
    parts = [(float(gaps.var(ddof=1)) / n, n - 1)]
    estimate, half = float(gaps.mean()), _half_width(parts)
    interval = Interval(max(-1.0, estimate - half), min(1.0, estimate + half))
    return Difference(estimate, interval, _two_sided_p(estimate, parts))


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p of discordant counts (McNemar, 1947, Psychometrika 12:153).

    The probability of a split at least as uneven under Binomial(only_a + only_b, 1/2).
    """
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def newcombe(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = 0.95
) -> Interval:
    """The interval of a difference of paired proportions, a minus b.

    Method 10 of Newcombe (1998, Stat. Med. 17:2635): Wilson limits of both margins, joined with
    their correlation phi, whose numerator is continuity-corrected when positive. Defined at every
    count, 0 and n included.
    """
    n = both + only_a + only_b + neither
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson(both + only_a, n, confidence)
    low_b, high_b = wilson(both + only_b, n, confidence)
    phi = _corrected_phi(both, only_a, only_b, neither)
    below = _joined(p_a - low_a, high_b - p_b, phi)
    above = _joined(high_a - p_a, p_b - low_b, phi)
    return Interval(p_a - p_b - below, p_a - p_b + above)


def newcombe_p(both: int, only_a: int, only_b: int, neither: int) -> float:
    """The two-sided p that belongs to `newcombe`: at confidence 1 - p its interval just reaches 0.

    So p is below 0.05 exactly where the 95 % interval leaves out 0.
    """
    if only_a == only_b:
        return 1.0
    counts = (both, max(only_a, only_b), min(only_a, only_b), neither)
    least, most = 0.0, 1.0  # between them lies the confidence
    while most - least > 1e-12:
        middle = (least + most) / 2
        least, most = (middle, most) if newcombe(*counts, middle).low > 0 else (least, middle)
    return 1.0 - least


def holm(pvalues: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error (Holm, 1979, Scand. J. Stat. 6:65)."""
    adjusted, largest = [0.0] * len(pvalues), 0.0
    for rank, i in enumerate(sorted(range(len(pvalues)), key=lambda i: pvalues[i])):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[i]))
        adjusted[i] = largest
    return adjusted


def at_least_as_strong(ours: ArrayLike, theirs: ArrayLike, margin: float) -> bool:
    """Whether our attack leaves at most `margin` more accuracy than theirs, statistically.

    ours, theirs (n,) or (runs, n) booleans, True where the image survives; over several runs it
    survives if it survives all. True when the one-sided 95 % upper bound of ours minus theirs,
    paired on the images (`newcombe`), is at most the margin.
    """
    cells = paired_counts(_survives_all(ours), _survives_all(theirs))
    return newcombe(*cells, confidence=0.90).high <= margin


def paired_counts(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """How many images survive in both, only a, only b, neither."""
    return int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum()), int((~a & ~b).sum())


def _survives_all(verdicts: ArrayLike) -> NDArray[np.bool_]:
    verdicts = np.asarray(verdicts, dtype=bool)
    return np.asarray(verdicts.reshape(-1, verdicts.shape[-1]).all(axis=0))


def _half_width(parts: list[tuple[float, int]]) -> float:
    """Half a 95 % t interval for a sum of independent variances with their degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if variance == 0.0:
        return 0.0
    return float(stdtrit(_satterthwaite(parts), 0.975)) * math.sqrt(variance)


def _two_sided_p(estimate: float, parts: list[tuple[float, int]]) -> float:
    variance = sum(part for part, _ in parts)
    if variance == 0.0:
        return 1.0 if estimate == 0.0 else 0.0
    t = abs(estimate) / math.sqrt(variance)
    return 2.0 * float(stdtr(_satterthwaite(parts), -t))


def _satterthwaite(parts: list[tuple[float, int]]) -> float:
    variance = sum(part for part, _ in parts)
    return variance**2 / sum(part**2 / df for part, df in parts)


def _corrected_phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    association = both * neither - only_a * only_b
    if association > 0:
        association = max(association - n / 2, 0.0)
    return association / math.sqrt(margins)


def _joined(first: float, second: float, phi: float) -> float:
    return math.sqrt(first**2 - 2 * phi * first * second + second**2)
