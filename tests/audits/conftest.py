"""An honest network, trained on toy images, and the cases that audits are given of a target."""

from fractions import Fraction

import pytest
import torch

from robustdeq.audits.base import Case
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.evaluation.judge import Judge
from robustdeq.samples import Samples
from robustdeq.testing.toys import toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import train

DATA = toy_data(train=64, held_out=16, test=32)


@pytest.fixture(scope="session")
def honest():
    """A small DEQ that is right on the clean images."""
    defense = Vanilla(channels=8)
    recipe = Recipe(Linf(Fraction(1, 8)), epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, torch.device("cpu"))
    return DefendedModel(defense, model, {})


@pytest.fixture(scope="session")
def case():
    """(target, radius, images) -> a case."""

    def make(target, eps=Fraction(1, 8), images=16):
        x, y = DATA.test.images[:images], DATA.test.labels[:images]
        return Case(target, Judge(target, 64), Samples.of(x, y), Linf(eps))

    return make
