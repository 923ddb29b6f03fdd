"""A column in fast mode is held against the exact one, and gives way to it where it loses."""

from fractions import Fraction

import pytest
import torch

from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.trial import Trial
from robustdeq.surfaces.fast import FastSurface
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train

CPU = torch.device("cpu")
DATA = toy_data(train=64, held_out=16, test=16)
LINF = Linf(Fraction(1, 8))


@pytest.fixture(scope="module")
def target():
    defense = Vanilla(channels=8)
    recipe = Recipe(LINF, epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model, {})


def run(target, mode, steps=8):
    column = Column("column", (Stage(PGD(steps=steps), Defended(mode=mode)),), (0,))
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": len(DATA.test)}
    trial = Trial(Entrant(target.defense), column, data, LINF)
    return evaluate(trial, Bench(lambda: target, "c" * 64, CPU), DATA.test)


def raised(record):
    return [flag["name"] for flag in record.flags]


@pytest.fixture
def deaf(monkeypatch):
    """A fast view whose gradient points nowhere."""
    honest = FastSurface.value_and_grad

    def value_and_grad(self, *arguments, **named):
        reading = honest(self, *arguments, **named)
        return reading._replace(gradient=torch.full_like(reading.gradient, 1e-9))

    monkeypatch.setattr(FastSurface, "value_and_grad", value_and_grad)


def test_what_the_short_cuts_lose_the_exact_pass_breaks(target, deaf):
    record, _ = run(target, "fast")
    exact, _ = run(target, "exact")
    assert "fast-exceeds-exact" in raised(record)
    assert record.robust == pytest.approx(exact.robust, abs=1 / len(DATA.test))


def test_an_honest_fast_column_is_left_as_it_is(target):
    record, _ = run(target, "fast", steps=30)
    assert "fast-exceeds-exact" not in raised(record)


def test_a_network_without_an_equilibrium_has_one_mode():
    network = build(Entrant(Explicit()), TASK).eval().requires_grad_(False)
    record, _ = run(DefendedModel(Explicit(), network, {}), "fast")
    assert "fast-exceeds-exact" not in raised(record)
