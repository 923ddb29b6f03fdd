"""What the multiscale DEQ promises: its size, its wiring, one dropout mask, its warm-up."""

from dataclasses import replace

import pytest
import torch

from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.mdeq import MDEQ
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.mdeq import MultiscaleCell
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import solve
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.training.central import build

CIFAR, DIGITS = Task((3, 32, 32), 10), Task((1, 8, 8), 10)
TINY = MDEQ(scales=(24, 24), head=(8, 16), final=200, expansion=5, groups=8)
LARGE = replace(TINY, scales=(32, 64, 128, 256), head=(14, 28, 56, 112), final=1680)
ROWS = torch.arange(6)
NOISE = NoiseStream(0).child("mdeq").at(ROWS)


def count(module):
    return sum(p.numel() for p in module.parameters())


def network(defense, task=TASK):
    return build(Entrant(defense), task).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("defense", "whole", "cell"), [(TINY, 158_890, 111_696), (LARGE, 11_097_438, 8_715_232)]
)
def test_the_authors_sizes_have_their_parameter_counts(defense, whole, cell):
    with torch.device("meta"):
        model = defense.build(CIFAR)
    assert count(model) == whole
    assert count(model.cell) == cell


def test_the_default_is_of_its_explicit_controls_size():
    ours, control = count(network(MDEQ(), DIGITS)), count(network(Explicit(), DIGITS))
    assert ours == 24_619
    assert abs(ours - control) < 0.03 * control


def test_the_injection_reaches_the_finest_scale_only_until_the_fusion():
    cell = MultiscaleCell((4, 4, 4), (8, 8), 2, 2)
    u = torch.randn(2, 4, 8, 8)
    blocks = [block.fixed() for block in cell.blocks]
    seen = []
    for block, (_, height, width) in zip(cell.blocks, cell.shapes, strict=True):
        block.norms[1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        assert height == width
    zero = torch.zeros(2, cell.dim)
    cell(zero, u)
    cell(zero, torch.zeros_like(u))
    with_u, without = seen[:3], seen[3:]
    assert torch.equal(with_u[0] - without[0], u)
    assert all(torch.equal(a, b) for a, b in zip(with_u[1:], without[1:], strict=True))
    assert len(blocks) == 3


def test_every_scale_reads_every_scale():
    cell = MultiscaleCell((4, 4, 4), (8, 8), 2, 2)
    z = torch.randn(1, cell.dim, requires_grad=True)
    out = cell.parts(cell(z, torch.randn(1, 4, 8, 8)))
    for part in out:
        (gradient,) = torch.autograd.grad(
            part.square().sum() + part[0, 0, 0, 0], z, retain_graph=True
        )
        assert all(piece.abs().max() > 0 for piece in cell.parts(gradient))


def test_weight_normalisation_is_computed_once_per_problem():
    model, x = network(MDEQ()), toy_images(3, TASK).images
    derived = []
    weight = model.cell.blocks[0].widen.parametrizations.weight[0]
    weight.register_forward_hook(lambda *_: derived.append(1))
    solve(model.problem(x), FixedDepth(max_steps=7))
    assert len(derived) == 1


def test_the_start_is_small_but_for_the_weight_normalised_convolutions():
    cell = network(TINY, CIFAR).cell
    assert cell.fusion[0][1][0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert cell.blocks[0].widen.weight.std().item() == pytest.approx(0.039, rel=0.05)


def test_one_dropout_mask_per_row_and_channel_for_all_solver_steps():
    defense = MDEQ(dropout=0.5)
    model, x = network(defense), toy_images(6, TASK).images
    problem = defense.problem(model, x, NOISE)
    _, mask = problem.context
    assert mask.shape == (6, sum(defense.scales))
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(mask[0], mask[1])
    again = defense.problem(model, x[2:4], NoiseStream(0).child("mdeq").at(ROWS[2:4]))
    assert torch.equal(again.context[1], mask[2:4])
    steps = solve(problem, FixedDepth(max_steps=6))
    by_hand = problem.z0
    for _ in range(6):
        by_hand = model.cell.fixed()(by_hand, problem.context[0], mask)
    assert torch.allclose(steps.z, by_hand, atol=1e-5)


def test_dropout_is_of_training_alone():
    x, rows = toy_images(6, TASK).images, ROWS
    answers = []
    for rate in (0.0, 0.5):
        defense = MDEQ(dropout=rate)
        target = DefendedModel(defense, network(defense), {})
        answers.append(target.predict(x, rows, NoiseStream(0)).logits)
    assert torch.equal(*answers)


def test_the_warm_up_is_a_short_weight_tied_network():
    defense = MDEQ(warmup=0.3, depth=3)
    model, x = network(defense), toy_images(6, TASK).images
    early = DefendedModel(defense, model, {}, progress=0.29)
    late = replace(early, progress=0.3)
    three = model.replaced(solver=FixedDepth(max_steps=3)).predict(x).logits
    assert torch.allclose(defense.outputs(early, x, NOISE), three, atol=1e-5)
    assert torch.equal(defense.outputs(late, x, NOISE), model(x))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scales": (12,)}, "at least 2 scales"),
        ({"head": (3,)}, "one head width per scale"),
        ({"scales": (12, 10)}, "divide"),
        ({"groups": 3}, "even"),
        ({"dropout": 1.0}, "dropout"),
        ({"warmup": -0.1}, "warmup"),
        ({"depth": 0}, "depth"),
        ({"jacobian_penalty": -1.0}, "jacobian_penalty"),
    ],
)
def test_bad_input_is_refused_with_the_next_step(fields, words):
    with pytest.raises(SpecError, match=words):
        MDEQ(**fields)


def test_images_that_cannot_be_halved_are_refused():
    with pytest.raises(SpecError, match="7x7 cannot be halved 1 times"):
        MDEQ().build(Task((1, 7, 7), 10))
