"""One definition of an answer, its label and of broken, on the logits that tell definitions apart.

A network of quantized logits, and one that rules classes out with minus infinity, were judged by
one rule and attacked by another: right on every input that an attack returned as broken.
"""

import math

import pytest
import torch

from robustdeq.answers import answered, bounded, change, labels, margin, spread
from robustdeq.attacks.facade import SurfaceModule
from robustdeq.models.base import Prediction
from robustdeq.objectives.base import View
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.divergence import Divergence
from robustdeq.objectives.dlr import DLR
from robustdeq.objectives.margin import Margin
from robustdeq.surfaces.network import network_surface

INF, NAN = math.inf, math.nan
# logits -> label, -1 where there is no answer
ROWS = {
    (1.0, 1.0, 0.0): 0,
    (0.0, 1.0, 1.0): 1,
    (-INF, 1.0, -INF): 1,
    (-INF, 0.25, 0.25): 1,
    (-INF, -INF, -INF): -1,
    (NAN, 1.0, 0.0): -1,
    (0.0, 1.0, NAN): -1,
    (INF, 1.0, 0.0): -1,
    (0.0, INF, INF): -1,
}
LOGITS = torch.tensor(list(ROWS))
RULED_OUT = torch.tensor([[-INF, 2.0, 1.0, 0.5], [0.5, -INF, -INF, 1.0], [3.0, -INF, -INF, -INF]])


def test_a_label_is_the_first_class_of_the_largest_logit_if_that_is_finite():
    assert labels(LOGITS).tolist() == list(ROWS.values())
    assert answered(LOGITS).tolist() == [label >= 0 for label in ROWS.values()]


def test_a_prediction_has_the_same_labels():
    count = torch.ones(len(LOGITS), dtype=torch.int64)
    prediction = Prediction(LOGITS, count, torch.zeros(len(LOGITS)), count.bool())
    assert prediction.labels.tolist() == list(ROWS.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_margin_has_the_sign_of_the_answer_and_a_tie_has_neither(dtype):
    logits = LOGITS[:4].to(dtype)
    for y in range(3):
        right = labels(logits) == y
        lead = margin(logits, torch.full((4,), y))
        assert (lead[right] >= 0).all()
        assert (lead[~right] <= 0).all()
    assert margin(logits, torch.tensor([0, 2, 1, 1])).tolist() == [0.0, 0.0, INF, 0.0]


def test_the_spread_is_of_the_classes_that_are_left():
    assert spread(RULED_OUT).tolist() == [1.5, 0.5, 0.0]


def test_logits_that_are_equally_infinite_have_not_changed():
    other = LOGITS.clone()
    assert not change(LOGITS, other).any()
    other[2, 0], other[5, 1], other[6, 2] = 1.0, 3.0, 0.0
    moved = change(LOGITS, other)
    assert moved[2, 0] == INF
    assert moved[5].tolist() == [0.0, 2.0, 0.0]
    assert moved[6, 2] == INF


def test_bounded_logits_keep_labels_and_gradients():
    logits = RULED_OUT.clone().requires_grad_()
    found = bounded(logits)
    assert found[0].tolist() == [-0.5, 2.0, 1.0, 0.5]
    assert torch.equal(labels(found), labels(RULED_OUT))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert torch.equal(gradient, (RULED_OUT != -INF).float())


def test_a_library_attack_is_shown_no_infinite_logit():
    module = SurfaceModule(network_surface(lambda x, rows: RULED_OUT), torch.device("cpu"))
    assert module(torch.zeros(3, 1, 2, 2)).isfinite().all()


@pytest.mark.parametrize("objective", [CrossEntropy(), DLR(), Margin(), Divergence()])
@pytest.mark.parametrize("targeted", [False, True])
def test_classes_that_are_ruled_out_give_no_gradient_that_is_nan(objective, targeted):
    logits = RULED_OUT.clone().requires_grad_()
    y = torch.tensor([1, 3, 0])
    target = torch.tensor([2, 0, 0]) if targeted else None
    if isinstance(objective, Divergence):
        target = RULED_OUT.roll(1, 1) if targeted else RULED_OUT
    value = objective(View(logits), y, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert not value.isnan().any()
    assert gradient.isfinite().all()


def test_dlr_without_a_third_class_is_the_margin():
    y = torch.tensor([1, 3, 0])
    value = DLR()(View(RULED_OUT), y)
    torch.testing.assert_close(value[1], torch.tensor(-0.5))
    torch.testing.assert_close(value[0], torch.tensor(-1.0 / 1.5))
