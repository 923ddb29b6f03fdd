"""JIIO against PGD: both phases stay in the ball, and the bound is of images."""

import numpy as np
import pytest
import torch

from benchmarks import joint
from benchmarks.timing.subjects import find_subject
from robustdeq.attacks.jiio import JIIO
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.defended import Defended


def test_a_polished_attack_breaks_no_less_and_costs_more():
    case = find_subject("slow")
    split = case.data.test.take(8)
    attack, view = JIIO(rounds=4, random_start=False), Defended(mode="fast")
    plain, polished = (
        joint.Contender("joint", attack, view, polishing).run(case, split, seeds=1)
        for polishing in (0, 2)
    )
    assert (polished.right <= plain.right).all()
    assert polished.evaluations > plain.evaluations > 4


def test_polishing_stays_in_the_threat_set():
    case = find_subject("slow")
    split, rows = case.data.test.take(8), torch.arange(8)
    attack = JIIO(rounds=2, random_start=False)
    contender = joint.Contender("joint", attack, Defended(mode="fast"), 3)
    surfaces = (Defended(mode).bind(case.target, NoiseStream(0)) for mode in ("fast", "exact"))
    found = contender._candidates(*surfaces, case, split, rows, NoiseStream(0))
    assert all(case.threat.contains(split.images, candidate).all() for candidate in found)
    assert not torch.equal(found[0], found[1])


def test_another_seed_of_the_same_verdicts_makes_the_bound_no_narrower():
    chance = np.random.default_rng(0)
    ours, theirs = chance.random((2, 1, 200)) < 0.7
    once = joint.upper_bound(ours, theirs)
    again = joint.upper_bound(ours.repeat(3, 0), theirs.repeat(3, 0))
    assert again == pytest.approx(once)


def test_the_bound_of_equal_verdicts_is_nothing():
    same = np.arange(20)[None] % 3 == 0
    assert joint.upper_bound(same, same) == 0.0
