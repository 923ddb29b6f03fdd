"""PGD and Auto-PGD against models whose worst case is known."""

from fractions import Fraction

import pytest
import torch
from toys import Linear, ToySurface, confirmed, conv_net, images

from robustdeq.attacks.apgd import APGD, checkpoints
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.pgd import PGD
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import View
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL = Linf(Fraction(1, 10)), L2(Fraction(1, 4))


def reached(attack, linear, x, y, threat):
    """The highest margin among the candidates of a search that is never cut short."""
    surface = ToySurface(linear, linear.never_fooled(y))
    found = attack.perturb(
        Approach(surface), Samples(x, y, torch.arange(len(x))), threat, NoiseStream(0)
    )
    return torch.stack([Margin()(View(linear(candidate)), y) for candidate in found]).amax(0)


@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()], ids=lambda o: o.plugin_name())
@pytest.mark.parametrize("attack", [PGD, APGD])
def test_a_binary_linear_model_is_driven_to_its_worst_point_of_the_box(attack, objective):
    linear, x = Linear(2, (3, 4)), images(7, (3, 4))
    y = linear(x).argmax(1)
    margin = reached(attack(steps=10, objective=objective), linear, x, y, LINF)
    torch.testing.assert_close(margin, linear.worst_margin_linf(x, y, 0.1))


@pytest.mark.parametrize(
    "attack", [PGD(steps=30, step=Fraction(1), objective=Margin()), APGD(objective=Margin())]
)
def test_a_binary_linear_model_is_driven_to_its_worst_point_of_the_l2_ball(attack):
    linear, x = Linear(2, (3, 4)), 0.3 + 0.4 * images(7, (3, 4))
    y = linear(x).argmax(1)
    margin = reached(attack, linear, x, y, BALL)
    # a step of one radius at least halves the angle to the best direction
    torch.testing.assert_close(margin, linear.worst_margin_l2(x, y, 0.25), rtol=0, atol=1e-3)


def test_apgd_with_every_target_finds_the_worst_class_of_a_linear_model():
    linear, x = Linear(6, (3, 4)), images(9, (3, 4))
    y = linear(x).argmax(1)
    margin = reached(APGD(steps=10, targets=5, objective=Margin()), linear, x, y, LINF)
    torch.testing.assert_close(margin, linear.worst_margin_linf(x, y, 0.1))


def test_more_targets_than_wrong_classes_are_the_wrong_classes():
    linear, x = Linear(3, (4,)), images(5, (4,))
    y = linear(x).argmax(1)
    two, nine = (
        reached(APGD(steps=6, targets=k, objective=Margin()), linear, x, y, LINF) for k in (2, 9)
    )
    assert torch.equal(two, nine)


def test_the_checkpoints_of_a_hundred_steps_are_those_of_the_paper():
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [0, 1]


def test_a_search_that_overshoots_halves_its_step_until_it_meets_a_corner_in_every_pixel():
    """A score of -|x - corner|_1: with a fixed step of 2 eps all pixels never fit at once."""
    corner = torch.linspace(0.017, 0.083, 8, dtype=torch.float64)

    def ridge(x):
        score = -(x.flatten(1) - corner).abs().sum(1)
        return torch.stack([torch.ones_like(score), score], 1)

    x, y = torch.zeros(3, 8, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    attack = APGD(steps=100, objective=Margin())
    found = attack.perturb(
        confirmed(ToySurface(ridge)), Samples(x, y, torch.arange(3)), LINF, NoiseStream(3)
    )
    # after eight halvings the step is 0.2 / 2^8, under 1e-3; unhalved the error is near 0.03
    assert (found[1] - corner).abs().max() < 4e-3


def test_the_gradient_budget_is_the_one_that_was_named():
    net, x = conv_net(), images(4, (2, 8, 6))
    with torch.no_grad():
        y = net(x).argmax(1)
    for attack, searches in ((PGD(steps=6, restarts=2), 2), (APGD(steps=6, targets=3), 3)):
        surface = ToySurface(net)
        attack.perturb(
            confirmed(surface),
            Samples(x, y, torch.arange(4)),
            Linf(Fraction(1, 10**6)),
            NoiseStream(0),
        )
        assert surface.cost.counts["vjp"] == 4 * 6 * searches


@pytest.mark.parametrize("step", [Fraction(0), Fraction(-1, 4)])
def test_a_step_that_does_not_ascend_is_refused(step):
    with pytest.raises(SpecError, match="positive fraction of the radius"):
        PGD(step=step)


def test_negative_targets_are_refused():
    with pytest.raises(SpecError, match="targets = -1"):
        APGD(targets=-1)
