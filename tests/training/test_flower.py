"""The federated loop on Flower; skipped where the extra `federated` is not installed."""

from fractions import Fraction

import pytest
import torch

from robustdeq.defenses.federated import Federated
from robustdeq.defenses.persistent_training import PersistentTraining
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.testing.toys import toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.loops.base import train

pytest.importorskip("flwr", reason="needs Flower: the extra `federated`")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Flower and of what it starts
def test_flowers_processes_end_with_bitwise_the_weights_of_the_loop_in_this_one():
    from robustdeq.training.flower import simulate

    base = PersistentTraining(base=Vanilla(channels=8))
    defense = Federated(base=base, clients=2, rounds=2, budgets=(2, 60), fusion="iterations")
    entrant = Entrant(defense, Recipe(Linf(Fraction(1, 8)), epochs=2, batch_size=8))
    data = toy_data(train=24, held_out=8, test=4)
    here, log = train(entrant, data, torch.device("cpu"))
    there, flower_log = simulate(entrant, data)
    assert flower_log == log
    first, second = here.state_dict(), there.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
