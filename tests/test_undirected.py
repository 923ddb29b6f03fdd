"""One row without a gradient stops no other: it gets no direction and a flag."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from robustdeq import registry
from robustdeq.attacks.approach import Approach
from robustdeq.evaluation.checks import gradient_findings, undirected
from robustdeq.models.rows import RowStore
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.surfaces.network import network_surface
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

COUNT, BLACK = 8, 3
NOISE = NoiseStream(0)
LINF, BALL = Linf(Fraction(1, 8)), L2(Fraction(1, 2))


def images():
    """Gray enough that no step of an attack reaches black, but for one pixel of one image."""
    split = toy_images(COUNT, TASK)
    x = 0.3 + 0.4 * split.images
    x[BLACK, 0, 0, 0] = 0.0
    return x, split.labels


def rooted(x, rows=None):
    """Logits of the square roots of pixels: at black the slope is infinite."""
    weight = torch.linspace(-1, 1, TASK.classes * x[0].numel()).reshape(-1, TASK.classes).sin()
    centered = x.sqrt().flatten(1)
    return 3 * (centered - centered.mean(1, keepdim=True)) @ weight


def attacks():
    for name in registry.names("attacks"):
        kind = registry.find("attacks", name)
        if kind.needs_logits_form:
            yield pytest.param(name, marks=pytest.mark.slow)
        elif kind.needs_gradient and name != "jiio":  # which asks for a view of states
            yield name


@pytest.mark.parametrize("threat", [LINF, BALL], ids=["linf", "l2"])
@pytest.mark.parametrize("name", list(attacks()))
def test_the_others_are_attacked_as_if_it_were_not_there(name, threat):
    # NaN in one row left the threat set, and the attack was over for all of them.
    attack, (x, y) = registry.find("attacks", name)(), images()
    if name == "torchattacks" and threat == BALL:
        attack = replace(attack, attack="PGDL2")
    others = torch.arange(COUNT) != BLACK
    rows = torch.arange(COUNT)
    surface = network_surface(rooted)
    found = attack.perturb(Approach(surface), Samples(x, y, rows), threat, NOISE)
    assert torch.isfinite(found).all()
    assert (threat.excess(x, found[0]) <= 1e-6).all()
    if not attack.needs_logits_form:  # whose random numbers hang on the batch
        alone = network_surface(rooted)
        wanted = attack.perturb(
            Approach(alone), Samples(x[others], y[others], rows[others]), threat, NOISE
        )
        assert torch.equal(found[:, others], wanted)


def test_a_gradient_that_is_no_number_is_no_direction_and_is_noted():
    x, y = images()
    surface, rows = network_surface(rooted), torch.arange(COUNT) + 40
    gradient = surface.value_and_grad(Samples(x, y, rows), CrossEntropy()).gradient
    assert not gradient[BLACK].any()
    assert gradient[:BLACK].flatten(1).abs().amax(1).gt(0).all()
    assert surface.cost.undirected == {40 + BLACK}


def test_a_library_gets_no_direction_either():
    surface, leaf = network_surface(rooted), images()[0].requires_grad_()
    (gradient,) = torch.autograd.grad(surface.differentiable_logits(leaf).sum(), leaf)
    assert torch.isfinite(gradient).all()
    assert not gradient[BLACK].any()
    assert len(surface.cost.undirected) == 1


def test_one_row_is_a_note_and_a_share_of_them_blocks():
    x, y = images()
    (note,) = gradient_findings(network_surface(rooted), Samples.of(x, y))
    assert (note.name, note.detail) == (
        "undirected",
        "1 of 8 images had a gradient that was no number",
    )
    x[BLACK + 1, 0, 0, 0] = 0.0
    (finding,) = gradient_findings(network_surface(rooted), Samples.of(x, y))
    assert finding.name == "non-finite"
    assert [f.name for f in undirected(set(range(5)), 500)] == ["undirected"]
    assert [f.name for f in undirected(set(range(6)), 500)] == ["non-finite"]
    assert undirected(set(), 500) == []


def test_a_memory_of_rows_keeps_nothing_that_is_no_number():
    # A product that was NaN once made every later gradient of its row NaN.
    store, rows = RowStore(), torch.arange(3)
    store.put(rows, torch.tensor([[1.0], [torch.nan], [3.0]]))
    store.put(rows, torch.tensor([[torch.inf], [2.0], [4.0]]))
    assert store.get(rows, torch.zeros(3, 1)).flatten().tolist() == [1.0, 2.0, 4.0]
