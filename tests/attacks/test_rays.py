"""RayS: labels alone, and still the nearest corner of a half-space."""

from fractions import Fraction

import pytest
import torch

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.rays import RayS
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.surfaces.network import network_surface
from robustdeq.threats.linf import Linf

NOISE = NoiseStream(0)
X = torch.full((5, 1, 4, 4), 0.5)
Y, ROWS = torch.zeros(5, dtype=torch.int64), torch.arange(5)
WEIGHTS = torch.where(torch.arange(16) % 3 == 0, -1.0, 1.0)


def half_space(distance):
    """The label is lost where w . (x - 1/2) > 16 distance; only corners of w's signs get there."""

    def logits(x, rows):
        score = ((x - 0.5).flatten(1) @ WEIGHTS) / 16 - distance
        return torch.stack([torch.zeros_like(score), score.sign()], dim=1)

    return network_surface(logits)


def test_it_finds_the_only_corner_of_the_ball_that_crosses_a_plane():
    """Of 65,536 sign vectors one loses the label at 0.9 of the radius; 300 labels find it."""
    threat = Linf(Fraction(1, 8))
    surface = half_space(0.9 / 8)
    (found,) = RayS(queries=300).perturb(Approach(surface), Samples(X, Y, ROWS), threat, NOISE)
    assert threat.contains(X, found).all()
    assert (surface.view(found, ROWS, frozenset()).logits.argmax(1) == 1).all()


def test_it_stays_in_the_ball_where_there_is_nothing_to_find():
    threat = Linf(Fraction(1, 8))
    surface = half_space(2.0)
    (found,) = RayS(queries=40).perturb(Approach(surface), Samples(X, Y, ROWS), threat, NOISE)
    assert threat.contains(X, found).all()
    assert surface.cost.counts["calls"] <= 40 * len(X)


def test_a_row_searches_the_same_way_in_any_batch():
    threat, surface = Linf(Fraction(1, 8)), half_space(0.11)
    (whole,) = RayS(queries=200).perturb(Approach(surface), Samples(X, Y, ROWS), threat, NOISE)
    (part,) = RayS(queries=200).perturb(
        Approach(surface), Samples(X[3:], Y[3:], ROWS[3:]), threat, NOISE
    )
    assert torch.equal(part, whole[3:])


def test_no_row_waits_for_the_ray_of_another():
    """There are as many batches as the busiest row asks questions."""
    batches = []

    def logits(x, rows):
        batches.append(len(x))
        offset = (x - 0.5).flatten(1)
        lost = (offset * WEIGHTS).mean(1) > 0.12 + 0.01 * rows
        return torch.stack([1 - lost.float(), lost.float()], dim=1)

    RayS(queries=200).perturb(
        Approach(network_surface(logits)), Samples(X, Y, ROWS), Linf(Fraction(1, 8)), NOISE
    )
    assert len(batches) <= 200 + 12
    assert sum(batches) > 3 * len(batches)


def hidden(x, rows):
    """Lost near by where at least 15 of 16 signs are w's, which few directions are."""
    offset = (x - 0.5).flatten(1)
    alike = (offset * WEIGHTS > 0).sum(1) >= 15
    lost = (alike & (offset.abs().amin(1) > 0.9 / 8)) | (offset.abs().amin(1) > 3 / 8)
    return torch.stack([1 - lost.float(), lost.float()], dim=1)


def test_a_restart_looks_where_the_first_search_did_not_and_only_for_what_it_missed():
    threat, chances = Linf(Fraction(1, 8)), []
    for restarts in (1, 30):
        surface = network_surface(hidden)
        attack = RayS(queries=60, restarts=restarts)
        (found,) = attack.perturb(Approach(surface), Samples(X, Y, ROWS), threat, NOISE)
        assert threat.contains(X, found).all()
        assert surface.cost.counts["calls"] <= (60 + 12) * restarts * len(X)
        chances.append(surface.view(found, ROWS, frozenset()).logits.argmax(1) == 1)
    once, often = chances
    assert (often >= once).all()
    assert often.sum() > once.sum()


@pytest.mark.parametrize("name", ["queries", "restarts"])
def test_no_queries_are_no_attack(name):
    with pytest.raises(SpecError, match=name):
        RayS(**{name: 0})
