"""Training on random states, against the formula written out."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from robustdeq.defenses.base import Batch, DefendedModel, Defense, Task
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.random_states import RandomStates
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build

SPLIT = toy_images(64, TASK)
ROWS = torch.arange(64)
NOISE = NoiseStream(3).at(ROWS)
BASE = Vanilla(channels=8)


def target(defense):
    return DefendedModel(defense, build(Entrant(defense), TASK).requires_grad_(False), {})


def states(model, count):
    """z_1 ... z_count of plain Picard steps."""
    problem = model.problem(SPLIT.images)
    z, found = problem.z0, []
    for _ in range(count):
        z = problem(z)
        found.append(z)
    return problem, found


def test_without_a_choice_it_reads_the_cell_one_step_after_the_state():
    defense = RandomStates(BASE, horizon=1, tail=0)
    subject = target(defense)
    problem, (first,) = states(subject.classifier, 1)
    wanted = subject.classifier.readout(problem(first))
    assert torch.allclose(defense.outputs(subject, SPLIT.images, NOISE), wanted, atol=1e-6)


def test_every_image_is_read_after_one_of_the_states_and_all_of_them_occur():
    defense = RandomStates(BASE, horizon=4, tail=1)
    subject = target(defense)
    problem, found = states(subject.classifier, 4)
    logits = defense.outputs(subject, SPLIT.images, NOISE)
    used = set()
    for row in range(64):
        fits = []
        for number, z in enumerate(found, 1):
            w = problem(z)
            w = (w + problem(w)) / 2
            expected = subject.classifier.readout(w)[row]
            fits += [number] if torch.allclose(logits[row], expected, atol=1e-5) else []
        assert fits, f"image {row} is read after no state"
        used.update(fits)
    assert used == {1, 2, 3, 4}


def test_the_draw_belongs_to_the_image_and_not_to_its_batch():
    defense = RandomStates(BASE)
    subject = target(defense)
    whole = defense.outputs(subject, SPLIT.images, NOISE)
    part = defense.outputs(subject, SPLIT.images[20:30], NoiseStream(3).at(ROWS[20:30]))
    assert torch.allclose(whole[20:30], part, atol=1e-5)


def test_the_loss_alone_is_random_by_default():
    batch = Batch(SPLIT.images, SPLIT.labels, ROWS, Linf(Fraction(1, 8)))

    def crafted(chain, **fields):
        defense = Defense.from_text(chain)
        if fields:
            defense = replace(defense, base=replace(defense.base, **fields))
        return defense.craft(target(defense), batch, NOISE, {})

    plain = crafted("adversarial-training/vanilla")
    chain = "adversarial-training/random-states/vanilla"
    assert torch.equal(plain, crafted(chain))
    assert not torch.equal(plain, crafted(chain, in_attack=True))


def test_each_step_of_a_random_attack_draws_afresh():
    defense = RandomStates(BASE, in_attack=True)
    surface = defense.crafting_surface(target(defense), NOISE)
    first, second = (
        surface.value_and_grad(Samples(SPLIT.images, SPLIT.labels, ROWS), CrossEntropy())
        for _ in range(2)
    )
    assert not torch.equal(first.value, second.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": 0}, "horizon 0"),
        ({"tail": -1}, "tail -1"),
        ({"in_loss": False}, "neither in the loss nor in the attack"),
    ],
)
def test_what_cannot_be_is_refused(fields, named):
    with pytest.raises(SpecError, match=named):
        RandomStates(BASE, **fields)


def test_a_network_without_states_is_refused_before_training():
    with pytest.raises(SpecError, match="random-states/explicit needs the states"):
        RandomStates(Explicit()).build(Task((1, 8, 8), 4))
