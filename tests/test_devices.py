"""Nothing is left on the CPU: every plug-in runs where its tensors are, on a device that is strict.

Once, the first adversarial batch on a GPU joined the empty index of a `RowStore` with rows there,
and raised; no test had a GPU to notice.
"""

import importlib.util
from fractions import Fraction

import pytest
import torch
from pretend_device import DeviceMismatch, pretend_device

from robustdeq import registry
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.autoattack import AutoAttack
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.rays import RayS
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.models.rows import RowStore
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.toys import TASK, tiny_deq, toy_images
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF = Linf(Fraction(1, 8))
SMALL = {
    "apgd": APGD(steps=3, restarts=2),
    "autoattack": AutoAttack(attacks=("apgd-ce",)),
    "fab": FAB(steps=3, targets=2, restarts=2),
    "jiio": JIIO(rounds=2),
    "pgd": PGD(steps=2),
    "rays": RayS(queries=24),
    "square": Square(queries=4),
}
LIBRARIES = {"autoattack": "pyautoattack", "torchattacks": "torchattacks"}


@pytest.fixture
def device():
    with pretend_device() as device:
        yield device


def setting(device):
    """A defended toy network and four images, all there."""
    target = DefendedModel(Vanilla(channels=8), tiny_deq().to(device), {})
    split = toy_images(4, TASK).to(device)
    return target, split.images, split.labels, torch.arange(4, device=device)


def attacks():
    for name in registry.names("attacks"):
        missing = name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]) is None
        mark = pytest.mark.skipif(missing, reason="the extra 'attacks' is not installed")
        attack = SMALL.get(name) or registry.find("attacks", name)()
        yield pytest.param(attack, id=name, marks=mark)


def test_the_pretend_device_refuses_to_mix(device):
    there = torch.arange(3.0, device=device)
    assert there.device == device
    assert (there + torch.tensor(1.0)).tolist() == [1.0, 2.0, 3.0]
    for mix in (
        lambda: there + torch.ones(3),
        lambda: torch.cat([torch.empty(0), there]),
        lambda: there[torch.tensor([0])],
        lambda: torch.ones(3)[torch.tensor([0], device=device)],
    ):
        with pytest.raises(DeviceMismatch):
            mix()


def test_a_store_is_first_asked_on_the_device(device):
    rows = torch.tensor([2, 5], device=device)
    store = RowStore()
    assert not store.knows(rows).any()
    store.put(rows, torch.ones(2, 3, device=device))
    assert store.knows(rows).all()


@pytest.mark.parametrize(("mode", "threat"), [("exact", LINF), ("fast", L2(Fraction(1, 2)))])
@pytest.mark.parametrize("attack", list(attacks()))
def test_every_attack(device, attack, mode, threat):
    target, x, y, rows = setting(device)
    surface = Defended(mode=mode).bind(target, NoiseStream(0))
    found = attack.perturb(surface, x, y, rows, threat, NoiseStream(0))
    assert found.device == device
