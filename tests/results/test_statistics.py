import itertools
import math

import numpy as np
import pytest
from scipy import stats

from robustdeq.results.boards.statistics import (
    at_least_as_strong,
    defense_interval,
    difference_of_defenses,
    holm,
    mcnemar,
    newcombe,
    newcombe_p,
    paired_counts,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_limits(k, n, low, high):
    # Newcombe (1998), Stat. Med. 17:857, Table I, method 3.
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_solves_its_defining_equation():
    z = stats.norm.ppf(0.975)
    for limit in wilson(37, 50):
        assert abs(37 / 50 - limit) == pytest.approx(z * math.sqrt(limit * (1 - limit) / 50))


def test_wilson_stays_inside_zero_and_one():
    assert wilson(0, 500).low == 0.0
    assert wilson(500, 500).high == 1.0


@pytest.mark.parametrize(
    ("cells", "limits"),
    [
        # Newcombe (1998), Stat. Med. 17:2635, Table II, method 10.
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        # Fagerland, Lydersen, Laake (2014), Stat. Med. 33:2850: airway hyper-responsiveness.
        ((1, 1, 7, 12), (-0.507, -0.026)),
    ],
)
def test_newcombe_gives_the_published_limits(cells, limits):
    digits = 5e-5 if limits[0] == 0.0569 else 5e-4
    assert newcombe(*cells) == pytest.approx(limits, abs=digits)


def test_newcombe_is_the_unpaired_interval_where_the_margins_do_not_vary():
    low, high = newcombe(0, 20, 0, 0)
    floor = wilson(20, 20).low
    assert high == 1.0
    assert low == pytest.approx(1 - math.hypot(1 - floor, 1 - floor))


def test_newcombe_turns_round_when_the_two_sides_change_places():
    low, high = newcombe(30, 9, 4, 7)
    assert newcombe(30, 4, 9, 7) == pytest.approx((-high, -low))


def test_newcombe_covers_the_difference_it_estimates():
    rng = np.random.default_rng(5)
    cells = np.array([0.45, 0.12, 0.05, 0.38])
    intervals = [newcombe(*map(int, rng.multinomial(200, cells))) for _ in range(3000)]
    coverage = np.mean([low <= 0.07 <= high for low, high in intervals])
    # Three standard errors of 3,000 trials around the nominal level.
    assert coverage == pytest.approx(0.95, abs=0.012)


def test_p_is_below_a_twentieth_exactly_where_the_interval_leaves_out_zero():
    # McNemar's p beside Newcombe's interval said "tied" of intervals that leave out 0.
    for counts in itertools.product(range(0, 14, 2), range(10), range(10), range(0, 14, 3)):
        if sum(counts) == 0:
            continue
        low, high = newcombe(*counts)
        assert (newcombe_p(*counts) < 0.05) is not (low <= 0 <= high), counts


@pytest.mark.parametrize("counts", [(3, 5, 1, 4), (0, 9, 0, 3), (40, 30, 12, 18)])
def test_at_confidence_one_less_p_the_interval_reaches_zero(counts):
    p = newcombe_p(*counts)
    assert newcombe(*counts, 1 - p).low == pytest.approx(0, abs=1e-6)
    both, only_a, only_b, neither = counts
    assert newcombe_p(both, only_b, only_a, neither) == p
    assert newcombe_p(both, only_a, only_a, neither) == 1


def test_mcnemar_equals_the_sum_over_all_splits_as_uneven():
    for b, c in itertools.product(range(7), repeat=2):
        n = b + c
        uneven = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(b - c))
        assert mcnemar(b, c) == pytest.approx(uneven / 2**n)


def test_holm_gives_the_adjusted_values_worked_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_one_seed_is_wilsons():
    verdicts = np.arange(50) < 31
    assert defense_interval(verdicts) == wilson(31, 50)


def test_the_interval_of_a_defense_follows_its_formula():
    rng = np.random.default_rng(0)
    verdicts = rng.random((4, 60)) < np.array([[0.3], [0.5], [0.6], [0.8]])
    accuracies = [row.sum() / 60 for row in verdicts]
    mean = sum(accuracies) / 4
    seeds = sum((a - mean) ** 2 for a in accuracies) / 3 / 4
    images = sum((verdicts[:, i].sum() / 4 - mean) ** 2 for i in range(60)) / 59 / 60
    df = (seeds + images) ** 2 / (seeds**2 / 3 + images**2 / 59)
    half = stats.t.ppf(0.975, df) * math.sqrt(seeds + images)
    assert defense_interval(verdicts) == pytest.approx((max(0, mean - half), min(1, mean + half)))


def test_the_interval_of_a_defense_is_never_narrower_than_wilsons():
    # Three seeds that agree to the image would otherwise claim to know the accuracy exactly.
    for k in (0, 3, 40):
        verdicts = np.tile(np.arange(40) < k, (3, 1))
        interval, floor = defense_interval(verdicts), wilson(k, 40)
        assert interval.low <= floor.low
        assert interval.high >= floor.high


def _defenses(rng, trials, seeds, n, spread):
    """Verdicts of defenses of accuracy one half, over new seeds and new images each time."""
    for _ in range(trials):
        ability = 0.5 + spread * rng.standard_normal((seeds, 1))
        hardness = rng.random(n)
        yield hardness < ability


def test_the_interval_of_a_defense_covers_its_accuracy_over_new_seeds_and_images():
    rng = np.random.default_rng(1)
    intervals = [defense_interval(v) for v in _defenses(rng, 1000, 3, 200, 0.05)]
    coverage = np.mean([low <= 0.5 <= high for low, high in intervals])
    assert 0.935 <= coverage <= 1.0


def test_equal_defenses_rarely_differ_and_unequal_ones_do():
    rng = np.random.default_rng(2)
    ours, theirs = (list(_defenses(rng, 600, 3, 200, 0.04)) for _ in range(2))
    false = np.mean(
        [difference_of_defenses(a, b).p < 0.05 for a, b in zip(ours, theirs, strict=True)]
    )
    # Three standard errors above the nominal level.
    assert false <= 0.05 + 0.027
    better = difference_of_defenses(np.arange(200) < [[150], [155], [160]], ours[0] & False)
    assert better.estimate == pytest.approx(0.775)
    assert better.p < 1e-3


def test_shared_weights_sharpen_the_test():
    # Both defenses swing together with the seed; only the pairing sees that one always gains ten.
    kept = np.array([[60], [100], [140]])
    a, b = np.arange(200) < kept + 20, np.arange(200) < kept
    assert difference_of_defenses(a, b, paired=True).p < 0.001
    assert difference_of_defenses(a, b).p > 0.05


def test_a_defense_does_not_differ_from_itself():
    verdicts = np.ones((3, 10))
    assert difference_of_defenses(verdicts, verdicts) == (0.0, (0.0, 0.0), 1.0)


def test_paired_counts_count_the_four_fates_of_an_image():
    a = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    b = np.array([1, 0, 0, 1, 0, 0, 0], dtype=bool)
    assert paired_counts(a, b) == (1, 2, 1, 3)


def test_an_attack_is_as_strong_only_when_the_bound_allows_it():
    theirs = np.arange(500) < 250
    assert at_least_as_strong(theirs, theirs, margin=0.01)
    assert at_least_as_strong(np.arange(500) < 240, theirs, margin=0.01)
    assert not at_least_as_strong(np.arange(500) < 256, theirs, margin=0.01)
    # The estimate is inside the margin, its upper bound is not.
    assert not at_least_as_strong(np.roll(theirs, 20), theirs, margin=0.01)


def test_several_runs_of_an_attack_leave_what_survives_all():
    runs = np.tile(np.array([[1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool), 200)
    best = runs.all(axis=0)
    assert at_least_as_strong(runs, best, margin=0.01)
    assert not at_least_as_strong(runs[0] | True, best, margin=0.01)
