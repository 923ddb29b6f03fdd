"""Masks, gradients and verdicts: counts by hand, intervals by the book, and a page at toy size."""

import numpy as np
import pytest

from benchmarks import capacity, trainings
from benchmarks.claims import paired, spread, verdict
from benchmarks.trainings import Plan


def test_the_interval_of_two_differences_is_student_s():
    mean, interval = paired([0.0, 2.0])
    assert mean == 1.0
    assert (interval.low, interval.high) == pytest.approx((1 - 12.706, 1 + 12.706), abs=1e-3)


@pytest.mark.parametrize(
    ("differences", "claimed", "said"),
    [
        ([-1.0, -1.1, -0.9], -1, "appears"),
        ([-1.0, -1.1, -0.9], 1, "reversed"),
        ([1.0, -1.0, 0.1], 1, "not reproduced at this scale"),
        ([0.0, 0.0, 0.0], 1, "not reproduced at this scale"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(differences, claimed, said):
    assert verdict(*paired(differences), claimed)[-1] == said


def test_the_spread_of_one_seed_is_its_value():
    assert (spread([2.0], 1), spread([1.0, 3.0], 1)) == ("2.0", "2.0 ± 1.4")


def test_masks_save_work_in_proportion_and_distinct_ones_keep_more_weights_alive():
    grid = capacity.networks()
    dense, shared, distinct = (
        [int(count.replace(",", "")) for count in capacity.counts(grid[8, 4, masks, density])]
        for masks, density in (("none", 1.0), ("shared", 0.5), ("distinct", 0.5))
    )
    assert dense[0] == dense[1] == shared[0] == distinct[0] == 2 * 9 * 8 * 8 + 8
    assert dense[2] == 2 * shared[2] == 2 * distinct[2] == 4 * 2 * 9 * 8 * 8 * 64
    assert shared[1] == 9 * 8 * 8 + 8
    assert shared[1] < distinct[1] < dense[1]


@pytest.mark.slow
def test_a_training_is_kept_and_gradients_share_the_forward_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "TIED", capacity.WeightTied(channels=8, depth=2))
    plan = Plan(seeds=2, epochs=1, rounds=1, steps=1, folder=tmp_path)
    rows, claims = capacity.gradients(plan)
    assert [row[0] for row in rows] == ["through-solver", "unrolled", "jacobian-free", "implicit"]
    assert rows[0][-1] == "1.00 (1.00 to 1.00)"
    assert len(claims) == 3
    monkeypatch.setattr(trainings, "measure", None)
    monkeypatch.setattr(trainings, "_seconds", None)
    assert capacity.gradients(plan) == (rows, claims)


def test_the_page_says_of_each_claim_what_the_losses_say(tmp_path, monkeypatch):
    def measure(entrant):
        network, jitter = entrant.defense, 0.001 * entrant.seed
        distinct = getattr(network, "masks", "") == "distinct"
        return {"loss": (0.2 if distinct else 0.3) + jitter, "right": 0.9, "residual": 0.01}

    monkeypatch.setattr(trainings, "measure", measure)
    monkeypatch.setattr(
        trainings, "_seconds", lambda _, defenses: {name: [0.1] for name in defenses}
    )
    plan = Plan(seeds=3, folder=tmp_path)
    figures = {key: plan.trained(network) for key, network in capacity.networks().items()}
    assert len(figures) == 10
    lines = capacity.masks_claims(capacity.losses(figures))
    assert len(lines) == 10
    for line in lines:
        assert (line[1], line[-1]) == ("-0.1", "appears")
    changes = [float(line[1]) for line in capacity.depth_claims(capacity.losses(figures))]
    assert np.allclose(changes, 0.0, atol=1e-12)
    assert capacity.page(plan).count("| distinct |") == 4
