"""The table of cheap trainings, at toy size."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("torchdeq")
pytest.importorskip("torchattacks")

from benchmarks.timing import variants
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.testing.toys import toy_data
from robustdeq.threats.linf import Linf

DATA = toy_data(train=16, held_out=4, test=4)
TOY = Entrant(Vanilla(channels=8), Recipe(Linf(Fraction(1, 8)), epochs=2, batch_size=16))


def test_every_training_ends_with_a_price_and_an_accuracy():
    found = variants.endings(TOY, DATA, DATA.test)
    assert len(found) == 6
    for name, ending in found.items():
        assert ending.cpu > 0
        assert not (ending.robust & ~ending.clean).any()
        assert len(variants.row(name, [ending, ending])) == len(variants.COLUMNS)
    assert found["fgsm-training"].epochs == found[variants.REFERENCE].epochs == 2
    assert found["PGD-2, nothing kept"].evaluations < found[variants.REFERENCE].evaluations


def test_more_steps_are_counted_as_more_evaluations():
    few, many = (
        variants.finish(
            replace(TOY, defense=AdversarialTraining(TOY.defense, PGD(steps=steps))),
            DATA,
            DATA.test,
        ).evaluations
        for steps in (1, 3)
    )
    assert many - few > 2 * 2  # epochs, steps


def test_a_line_averages_over_seeds():
    right, wrong = np.ones(4, dtype=bool), np.zeros(4, dtype=bool)
    runs = [variants.Ending(4, 1.0, 10, right, right), variants.Ending(5, 2.0, 30, right, wrong)]
    name, epochs, cpu, evaluations, clean, robust = variants.row("any", runs)
    assert (name, epochs, cpu, evaluations) == ("any", "4.5", "1.5", "20")
    assert clean.startswith("100.0 (")
    assert robust.startswith("50.0 (")
