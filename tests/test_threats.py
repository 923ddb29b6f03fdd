"""Threat models: the sets, their projections and their directions."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from robustdeq import registry
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import radius
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

THREATS = [registry.find("threats", name)(Fraction(3, 10)) for name in registry.names("threats")]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=lambda t: t.plugin_name())


def some_images(count=6, shape=(2, 5, 4), seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


@every_threat
def test_projection_lands_in_the_set_and_leaves_its_points_alone(threat):
    x = some_images()
    far = x + 3.0 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    inside = threat.project(far, x)
    assert threat.contains(x, inside).all()
    torch.testing.assert_close(threat.project(inside, x), inside, rtol=0, atol=1e-6)
    torch.testing.assert_close(threat.project(x, x), x, rtol=0, atol=0)


@every_threat
def test_the_steepest_direction_attains_the_dual_norm(threat):
    g = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction = threat.steepest(g)
    gain = (g * direction).flatten(1).sum(1)
    dual = {"linf": 1, "l2": 2}[threat.plugin_name()]
    torch.testing.assert_close(gain, torch.linalg.vector_norm(g.flatten(1), dual, dim=1))
    torch.testing.assert_close(
        threat.distance(torch.zeros_like(g), direction), torch.ones(5, dtype=torch.float64)
    )


@every_threat
def test_a_vanishing_gradient_still_has_a_direction_and_a_zero_one_has_none(threat):
    g = torch.stack([torch.full((2, 3), 1e-30), torch.zeros(2, 3)])
    direction = threat.steepest(g)
    assert threat.distance(torch.zeros_like(g), direction)[0] == pytest.approx(1.0, abs=1e-6)
    assert direction[1].abs().max() == 0


@every_threat
def test_random_starts_lie_in_the_set_and_belong_to_their_row(threat):
    x, rows, noise = some_images(), torch.arange(6) + 40, NoiseStream(5)
    start = threat.random_start(x, rows, noise)
    assert threat.contains(x, start).all()
    order = torch.tensor([4, 0, 5])
    assert torch.equal(threat.random_start(x[order], rows[order], noise), start[order])
    assert not torch.equal(threat.random_start(x, rows, noise, draw=1), start)


def far_from_the_box():
    return torch.full((4000, 3), 0.5), torch.arange(4000)


def test_linf_starts_are_uniform_in_the_ball():
    x, rows = far_from_the_box()
    offset = (Linf(Fraction(3, 10)).random_start(x, rows, NoiseStream(0)) - x) / 0.3
    # a uniform number on [-1, 1] has mean 0 and variance 1/3; standard errors are below 0.01
    torch.testing.assert_close(offset.mean(0), torch.zeros(3), rtol=0, atol=0.05)
    torch.testing.assert_close(offset.var(0), torch.full((3,), 1 / 3), rtol=0, atol=0.03)


def test_l2_starts_have_a_uniform_direction_and_a_uniform_radius():
    x, rows = far_from_the_box()
    offset = (L2(Fraction(3, 10)).random_start(x, rows, NoiseStream(0)) - x) / 0.3
    radius = offset.norm(dim=1)
    assert radius.mean().item() == pytest.approx(1 / 2, abs=0.025)
    assert radius.var().item() == pytest.approx(1 / 12, abs=0.008)
    # on the sphere of three dimensions each coordinate has variance 1/3
    torch.testing.assert_close(
        (offset / radius[:, None]).var(0), torch.full((3,), 1 / 3), rtol=0, atol=0.03
    )


def test_the_linf_projection_is_the_nearest_point():
    threat, x = Linf(Fraction(1, 4)), torch.tensor([[0.1, 0.9, 0.5]])
    nearest = threat.project(torch.tensor([[-3.0, 0.95, 0.9]]), x)
    torch.testing.assert_close(nearest, torch.tensor([[0.0, 0.95, 0.75]]))


def test_the_l2_projection_shrinks_radially_inside_the_box():
    threat, x = L2(Fraction(1, 4)), torch.full((1, 2), 0.5)
    shrunk = threat.project(x + torch.tensor([[0.3, 0.4]]), x)
    torch.testing.assert_close(shrunk, torch.tensor([[0.65, 0.70]]))


@every_threat
def test_excess_names_how_far_a_point_is_outside(threat):
    x = torch.tensor([[0.5], [0.95], [0.5]])
    excess = threat.excess(x, torch.tensor([[0.9], [1.02], [0.6]]))
    torch.testing.assert_close(excess, torch.tensor([0.1, 0.02, -0.2]))


@every_threat
def test_nan_lies_in_no_threat_set(threat):
    x = torch.full((1, 2), 0.5)
    assert not threat.contains(x, torch.tensor([[0.5, float("nan")]])).any()


@every_threat
@pytest.mark.parametrize("eps", [Fraction(0), Fraction(-1, 8)])
def test_a_radius_that_is_not_positive_is_refused(threat, eps):
    with pytest.raises(SpecError, match=f"radius {eps} is not positive"):
        type(threat)(eps)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (8 / 255, Fraction(8, 255)),
        (0.031, Fraction(31, 1000)),
        (0.5, Fraction(1, 2)),
        (np.float64(0.3), Fraction(3, 10)),
        ("0.1", Fraction(1, 10)),
        (Fraction(3, 16), Fraction(3, 16)),
        (2, Fraction(2)),
    ],
)
def test_a_float_stands_for_the_simple_fraction_that_it_is_nearest_to(given, meant):
    assert radius(given) == meant


def test_a_protocol_refuses_a_radius_that_reaches_every_image():
    rules = load_protocol("digits-linf-v1")
    with pytest.raises(SpecError, match='write "8/255" for 8 of 255 levels'):
        replace(rules, threat=replace(rules.threat, eps=Fraction(8))).load_data()


@pytest.mark.parametrize(
    ("threat", "shape", "fits"),
    [
        (Linf(Fraction(8, 255)), (1, 8, 8), True),
        (Linf(Fraction(1)), (3, 32, 32), False),
        (L2(Fraction(3)), (1, 8, 8), True),
        (L2(Fraction(8)), (1, 8, 8), False),
        (L2(Fraction(8)), (3, 32, 32), True),
    ],
)
def test_a_radius_fits_images_that_lie_further_apart(threat, shape, fits):
    if fits:
        threat.require_fit(shape)
    else:
        with pytest.raises(SpecError, match="reaches every image"):
            threat.require_fit(shape)
