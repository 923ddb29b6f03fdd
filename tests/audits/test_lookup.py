"""It tells an album of the test images from a network, and stays silent on the latter."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from conftest import DATA
from planted import Detached, Rounding, Shifting, wrapped

from robustdeq.audits.chance import stands_out
from robustdeq.audits.lookup import Lookup
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.inference import NETWORK
from robustdeq.results.flags import find_flag
from robustdeq.testing.impostors.base import alone
from robustdeq.testing.impostors.base import wrapped as disguised
from robustdeq.testing.impostors.known_images import Album
from robustdeq.testing.impostors.nearest_image import Restoration

IMAGES, RADIUS = 20, Fraction(1, 4)
ALBUM = Album(DATA.test.images, DATA.test.labels, float(RADIUS) + 1e-3)


@pytest.fixture
def examined(case):
    """A target's figures: with a pixel flipped, and where the chain acts, shifted at two radii."""

    def examine(target, images=IMAGES):
        return list(Lookup().examine(case(target, RADIUS, images)))

    return examine


def test_an_honest_network_is_its_own_control_and_raises_nothing(honest, examined):
    (flipped,) = examined(honest)
    assert not flipped.raised
    assert flipped.value <= flipped.limit / 2


@pytest.mark.parametrize("plant", [Rounding, Shifting])
def test_an_honest_inference_defense_raises_nothing(plant, honest, examined):
    figures = examined(wrapped(plant, honest), images=8)
    assert len(figures) == 3
    assert not any(figure.raised for figure in figures)


@pytest.mark.parametrize("disguise", [disguised, alone])
def test_labels_looked_up_near_an_image_are_lost_with_a_pixel(disguise, honest, examined):
    """Such a plug-in of a dozen lines had the first rank, and no flag."""
    flipped = examined(disguise(ALBUM)(honest))[0]
    assert flipped.raised
    assert flipped.value > 0.5
    assert flipped.detail.startswith(f"{IMAGES} of {IMAGES} images are right in place")


def test_images_that_are_restored_from_memory_are_lost_when_shifted(honest, examined):
    """The nearest known image survives a pixel, and needs no label to be the right one."""
    chain = DefendedModel(Restoration(honest.defense, DATA.test.images), honest.classifier, {})
    flipped, *shifted = examined(chain)
    assert not flipped.raised
    assert any(figure.raised for figure in shifted)


def test_a_wrapper_that_states_to_do_nothing_is_held_against_its_network_as_well(honest, examined):
    """Its hooks act for all that; who is believed would choose which test to take."""

    class Denied(Restoration):
        inference = NETWORK

    chain = DefendedModel(Denied(honest.defense, DATA.test.images), honest.classifier, {})
    assert not chain.defense.at_inference.acts
    assert any(figure.raised for figure in examined(chain)[1:])


def test_it_blocks_a_rank():
    assert find_flag("memorized").blocking


def test_without_a_gradient_or_without_rows_and_columns_there_is_nothing_to_measure(honest, case):
    assert all(
        "shifted" in each.detail for each in Lookup().examine(case(wrapped(Detached, honest)))
    )
    plain = case(honest)
    assert Lookup().examine(replace(plain, samples=plain.samples.moved(plain.x.flatten(1)))) == []


def test_the_fall_and_its_p_are_those_of_every_place_that_the_first_version_could_have_had():
    """Brute force: each item's versions in each order, the item without its first left out."""
    right = np.array([[1, 1, 0, 1, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], bool)
    there = np.array([[1, 1, 1, 0, 1], [1, 1, 1, 1, 0], [1, 0, 1, 1, 0]], bool)
    items = [[int(right[v, i]) for v in range(3) if there[v, i]] for i in (0, 1, 2)]
    sums = [sum(firsts) for firsts in itertools.product(*items)]
    observed = 2
    fall, p, firsts, n = stands_out(right, there)
    assert (firsts, n) == (observed, 3)
    assert p == pytest.approx(np.mean([s >= observed for s in sums]))
    assert fall == pytest.approx(np.mean([1 - 0, 1 - 1, 0 - 1 / 2]))


def test_no_item_is_no_evidence():
    nothing = np.zeros((3, 4), bool)
    assert stands_out(nothing, nothing) == (0.0, 1.0, 0, 0)
