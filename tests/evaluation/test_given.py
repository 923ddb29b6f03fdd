"""`robustdeq.attack` looks at what it is given before it attacks: a wrong call has no figure."""

import numpy as np
import pytest
import torch
from torch import nn

import robustdeq
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.errors import DataError, SpecError
from robustdeq.models.base import Classifier, Deployment, Prediction
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.training.central import build

SPLIT = toy_images(8)


def model(defense=None):
    defense = defense or Explicit(channels=8, blocks=1)
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    return DefendedModel(defense, network, {})


def by_hand(defense):
    """A network that nobody told its task."""
    return DefendedModel(defense, defense.build(TASK).eval().requires_grad_(False), {})


def attack(x=SPLIT.images, y=SPLIT.labels, target=None, **settings):
    return robustdeq.attack(
        target or model(), x, y, PGD(steps=1), **{"eps": "1/10", "seed": 0} | settings
    )


class OneLogit(Classifier):
    """Two classes by the sign of one number."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(64, 1)

    def forward(self, x):
        return self.read(x.flatten(1))

    def predict(self, x):
        ones = torch.ones(len(x))
        return Prediction(self(x), ones.long(), 0 * ones, ones.bool())

    def deployment(self):
        return Deployment()


def test_arrays_are_attacked_like_tensors():
    x, right = attack(SPLIT.images.numpy(), SPLIT.labels.numpy().astype(np.uint8))
    wanted, survived = attack()
    assert torch.equal(x, wanted)
    assert torch.equal(right, survived)


@pytest.mark.parametrize("shift", [1, -1, 4, 100])
@pytest.mark.parametrize("target", [model, lambda: by_hand(Explicit(channels=8))])
def test_labels_that_the_model_has_no_logit_for_are_refused(shift, target):
    with pytest.raises(DataError, match="is out of range; expected 0"):
        attack(y=SPLIT.labels + shift, target=target())


def test_a_network_of_one_logit_is_refused():
    with pytest.raises(DataError, match="1 class, of which every answer is right"):
        attack(y=SPLIT.labels % 2, target=DefendedModel(Explicit(), OneLogit().eval(), {}))


SHAPES = {
    "channels last": (SPLIT.images.permute(0, 2, 3, 1), "the channels come last"),
    "color for gray": (SPLIT.images.expand(8, 3, 8, 8), "the model sees gray"),
    "larger": (torch.rand(8, 1, 28, 28), "resize the images"),
    "larger by a row": (torch.rand(8, 1, 9, 9), "resize the images"),
}


@pytest.mark.parametrize(("x", "said"), SHAPES.values(), ids=SHAPES)
def test_images_of_another_shape_than_the_models_are_refused(x, said):
    with pytest.raises(DataError, match=r"the model's \(1, 8, 8\)") as caught:
        attack(x)
    assert said in str(caught.value)


@pytest.mark.parametrize(("x", "said"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("defense", [Explicit(channels=8), Vanilla(channels=8)])
def test_they_are_refused_by_a_network_that_nobody_told_its_task(defense, x, said):
    with pytest.raises(DataError, match="built for"):
        attack(x, target=by_hand(defense))


@pytest.mark.parametrize(
    ("eps", "norm", "said"),
    [
        (8, "linf", 'write "8/255" for 8 of 255 levels'),
        ("8", "linf", 'write "8/255" for 8 of 255 levels'),
        (1, "linf", "radius 1 reaches every image"),
        ("3/2", "linf", "give a smaller radius"),
        (128, "l2", 'write "128/255"'),
        (8, "l2", "are further apart than 8;"),
        (0, "linf", "radius 0 is not positive"),
        (-0.1, "linf", "radius -1/10 is not positive"),
        (0.1 + 0.2, "linf", "the float of no simple fraction"),
        (float("nan"), "linf", "radius nan is not a number"),
        (float("inf"), "l2", "radius inf is not a number"),
        ("8/255 ", "l1", "unknown threat 'l1'"),
        ("eight", "linf", "radius 'eight' is not a number"),
        (True, "linf", "radius True is a bool"),
    ],
)
def test_a_radius_that_means_something_else_is_refused(eps, norm, said):
    with pytest.raises(SpecError) as caught:
        attack(eps=eps, norm=norm)
    assert said in str(caught.value)


def test_the_network_of_an_entrant_knows_its_task():
    assert model().classifier.task == Task((1, 8, 8), 4)
