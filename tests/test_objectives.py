"""Objectives: values by hand, and the laws an attack relies on."""

import math

import pytest
import torch

from robustdeq.errors import ContractViolation, SpecError
from robustdeq.objectives.base import Objective, View
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.dlr import DLR
from robustdeq.objectives.margin import Margin
from robustdeq.objectives.transient_margin import TransientMargin
from robustdeq.samples import Samples
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.testing.toys import TASK, tiny_deq

every_objective = pytest.mark.parametrize(
    "objective", [CrossEntropy(), DLR(), Margin()], ids=lambda o: o.plugin_name()
)

LOGITS = torch.tensor([[3.0, 1.0, 0.0, -2.0], [0.5, 4.0, 2.0, 1.0]])
Y = torch.tensor([0, 0])
TARGET = torch.tensor([2, 3])


def test_cross_entropy_is_minus_the_log_of_a_softmax():
    share = [math.exp(3) / sum(map(math.exp, (3, 1, 0, -2))), math.exp(0.5)]
    share[1] /= sum(map(math.exp, (0.5, 4, 2, 1)))
    torch.testing.assert_close(CrossEntropy()(View(LOGITS), Y), -torch.tensor(share).log())


def test_targeted_cross_entropy_is_the_log_likelihood_of_the_target():
    untargeted = CrossEntropy()(View(LOGITS), TARGET)
    torch.testing.assert_close(CrossEntropy()(View(LOGITS), Y, TARGET), -untargeted)


def test_margin_is_the_best_other_logit_minus_the_own():
    torch.testing.assert_close(Margin()(View(LOGITS), Y), torch.tensor([-2.0, 3.5]))
    torch.testing.assert_close(Margin()(View(LOGITS), Y, TARGET), torch.tensor([-3.0, 0.5]))


def test_dlr_divides_by_the_spread_of_its_paper():
    # eq. 6: (1-3)/(3-0) and (4-0.5)/(4-1);  eq. 7: (0-3)/(3-(0-2)/2) and (1-0.5)/(4-(1+0.5)/2)
    torch.testing.assert_close(DLR()(View(LOGITS), Y), torch.tensor([-2 / 3, 3.5 / 3]))
    torch.testing.assert_close(DLR()(View(LOGITS), Y, TARGET), torch.tensor([-0.75, 0.5 / 3.25]))


@pytest.mark.parametrize("target", [None, TARGET])
def test_dlr_does_not_see_shift_or_scale(target):
    moved = DLR()(View(1e3 * LOGITS - 7.0), Y, target)
    torch.testing.assert_close(moved, DLR()(View(LOGITS), Y, target))


@pytest.mark.parametrize(("classes", "target"), [(2, None), (3, torch.tensor([1]))])
def test_dlr_says_which_objective_to_take_for_too_few_classes(classes, target):
    with pytest.raises(SpecError, match=rf"{classes}; use the objective 'margin'"):
        DLR()(View(torch.randn(1, classes)), torch.tensor([0]), target)


@every_objective
@pytest.mark.parametrize("target", [None, TARGET])
def test_extreme_and_tied_logits_give_finite_values_and_gradients(objective, target):
    logits = torch.stack([torch.tensor([1e4, -1e4, 0.0, 5.0]), torch.ones(4)]).requires_grad_()
    value = objective(View(logits), Y, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every_objective
@pytest.mark.parametrize("target", [None, TARGET])
def test_a_row_is_scored_by_itself(objective, target):
    both = objective(View(LOGITS), Y, target)
    alone = objective(View(LOGITS[1:]), Y[1:], None if target is None else target[1:])
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=0)


@every_objective
def test_lowering_the_true_logit_never_lowers_the_score(objective):
    lowered = LOGITS - torch.nn.functional.one_hot(Y, 4) * 0.25
    assert (objective(View(lowered), Y) > objective(View(LOGITS), Y)).all()


@pytest.mark.parametrize("target", [None, TARGET])
@pytest.mark.parametrize("first", [0, 2, 9])
def test_the_transient_margin_is_the_largest_of_the_late_states(first, target):
    path = torch.stack([shift + LOGITS.roll(shift, 1) for shift in range(4)])
    value = TransientMargin(first)(View(path[-1], path_logits=path), Y, target)
    each = torch.stack([Margin()(View(logits), Y, target) for logits in path])
    assert torch.equal(value, each[min(first, 3) :].amax(0))


def test_the_transient_margin_says_what_it_reads():
    with pytest.raises(SpecError, match="use the surrogate 'solver-path'"):
        TransientMargin()(View(LOGITS), Y)
    with pytest.raises(SpecError, match="first -1; expected the number of a state"):
        TransientMargin(-1)


class Writes(Objective):
    """An objective that changes what it is shown, where whoever shows it goes on to read."""

    def __init__(self, part):
        self.part = part

    @classmethod
    def plugin_name(cls):
        return "writes"

    def __call__(self, view, y, target=None):
        getattr(view, self.part).mul_(-1.0)
        return Margin()(view, y, target)


@pytest.mark.parametrize("part", ["logits", "states", "residuals", "path_logits"])
def test_an_objective_that_writes_into_its_view_is_named(part):
    """Attacks then read other logits than the network's, and candidates were chosen by them."""
    steps = torch.rand(3, 2, 4)
    view = View(LOGITS.clone(), steps.clone(), steps[..., 0].clone(), steps.clone())
    with pytest.raises(ContractViolation, match=f"'writes' wrote into the {part} that it was"):
        Writes(part).score(view, Y)
    with torch.inference_mode():
        assert Margin().score(View(LOGITS.clone()), Y).shape == (2,)


def test_an_attack_with_an_objective_that_writes_is_refused():
    model = tiny_deq().eval().requires_grad_(False)
    surface = EquilibriumSurface(model)
    x, y = torch.rand(2, *TASK.shape), torch.tensor([0, 1])
    for ask in (surface.value, surface.value_and_grad):
        with pytest.raises(ContractViolation, match="'writes' wrote into the logits"):
            ask(Samples.of(x, y), Writes("logits"))


@pytest.mark.parametrize(
    ("found", "said"),
    [(LOGITS, r"Tensor of shape \(2, 4\)"), (LOGITS.sum(), r"shape \(\)"), (1.5, "float")],
)
def test_an_objective_that_scores_no_image_alone_is_refused(found, said):
    class Planted(Objective):
        def __call__(self, view, y, target=None):
            return found

    with pytest.raises(ContractViolation, match=f"{said}.* expected a tensor of shape \\(2,\\)"):
        Planted().score(View(LOGITS), Y)
