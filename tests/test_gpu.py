"""What runs on a GPU gives what a CPU gives, up to rounding."""

from fractions import Fraction

import pytest
import torch

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.fast import FastSurface
from robustdeq.testing.toys import TASK, tiny_deq, toy_data, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train

pytestmark = pytest.mark.gpu
SPLIT = toy_images(16, TASK)
LINF = Linf(Fraction(1, 8))


def on(device):
    split = SPLIT.to(torch.device(device))
    rows = torch.arange(16, device=device)
    return tiny_deq().double().to(device), split.images.double(), split.labels, rows


@pytest.mark.parametrize("view", [EquilibriumSurface, FastSurface])
def test_values_and_gradients_are_those_of_the_cpu(view):
    readings = []
    for device in ("cpu", "cuda"):
        model, x, y, rows = on(device)
        readings.append(view(model).value_and_grad(Samples(x, y, rows), Margin()))
    for name in ("value", "gradient"):
        here, there = (getattr(reading, name).cpu() for reading in readings)
        torch.testing.assert_close(here, there, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("attack", [PGD(steps=5), APGD(steps=8)], ids=["pgd", "apgd"])
def test_an_attack_stays_in_its_ball_there(attack):
    model, x, y, rows = on("cuda")
    candidates = attack.perturb(
        Approach(EquilibriumSurface(model)), Samples(x, y, rows), LINF, NoiseStream(0)
    )
    assert candidates.device.type == "cuda"
    assert max(LINF.excess(x, candidate).max().item() for candidate in candidates) <= 1e-6


def test_a_training_learns_there():
    defense = AdversarialTraining(Vanilla(channels=8), PGD(steps=2))
    recipe = Recipe(LINF, epochs=4, batch_size=16, validate_every=4)
    entrant, data = Entrant(defense, recipe), toy_data(train=64, held_out=16, test=16)
    model, log = train(entrant, data, torch.device("cuda"))
    assert log[-1]["clean"] > 0.5
    target = DefendedModel(defense, model, {})
    test = data.test.to(torch.device("cuda"))
    rows = torch.arange(16, device="cuda")
    here = build(entrant, TASK)
    here.load_state_dict({name: value.cpu() for name, value in model.state_dict().items()})
    there = target.predict(test.images, rows, NoiseStream(0)).labels.cpu()
    alone = DefendedModel(defense, here.eval(), {})
    assert torch.equal(alone.predict(data.test.images, rows.cpu(), NoiseStream(0)).labels, there)
