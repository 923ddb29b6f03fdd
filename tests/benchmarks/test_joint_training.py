"""Joint against PGD training: resumed, and called equivalent only where the interval says so."""

import json

import numpy as np
import pytest

from benchmarks import joint_training
from benchmarks.claims import paired
from benchmarks.joint_training import CHAINS, Plan, page


@pytest.fixture
def plan(tmp_path):
    return Plan(seeds=2, images=6, epochs=1, folder=tmp_path)


def figures(plan, ours, theirs):
    """Put robust accuracies in the place of measured ones."""
    for chain, values in zip(CHAINS, (ours, theirs), strict=True):
        for seed, value in enumerate(values):
            name = f"{plan._entrant(chain, seed).id}-{joint_training.digest(joint_training.ATTACK)}"
            path = plan.folder / f"{name}-{plan.images}.json"
            path.write_text(json.dumps({"clean": 90.0, "robust": value}))


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ([60.1, 60.3], "equivalent: yes"),
        ([61.0, 67.0], "equivalent: no"),  # two seeds that differ too much
        ([55.0, 55.2], "equivalent: no"),  # and two that agree on a difference
    ],
)
def test_equivalence_takes_the_whole_interval(plan, ours, said):
    figures(plan, ours, [60.0, 60.1])
    assert said in page(plan)


def test_the_interval_is_wider_at_a_higher_confidence():
    gaps = np.array([0.5, -0.2, 1.0, 0.1, 0.4])
    (_, narrow), (_, wide) = paired(gaps, 0.90), paired(gaps, 0.95)
    assert wide.low < narrow.low < gaps.mean() < narrow.high < wide.high


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(plan, monkeypatch):
    first = page(plan)
    monkeypatch.setattr(joint_training, "ensure_trained", None)
    assert page(plan) == first
