"""Nothing is left on the CPU: every plug-in runs where its tensors are, on a device that is strict.

Once, the first adversarial batch on a GPU joined the empty index of a `RowStore` with rows there,
and raised; no test had a GPU to notice.
"""

import importlib.util
from dataclasses import fields, replace
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
from robustdeq.audits.base import Case
from robustdeq.audits.battery import examine
from robustdeq.defenses.base import DefendedModel, Defense
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.models.rows import RowStore
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.results.store.result_store import ResultStore
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.subject import Subject, registered_chains
from robustdeq.testing.toys import TASK, tiny_deq, toy_data, toy_images
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf
from robustdeq.training.trained import ensure_trained, load_model

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


def tried(entrant, column, bench, split):
    """The record of a trial."""
    about = {"name": "toy-images", "digest": split.digest(), "n": len(split)}
    return evaluate(Trial(entrant, column, about, LINF), bench, split)[0]


def small(plugin):
    """The same with its counts cut down to what a test can wait for."""
    tiny = {"images": 4, "inner": 20, "control": 4, "points": 8, "directions": 2, "steps": 2}
    known = {field.name for field in fields(plugin)}
    return replace(plugin, **{name: count for name, count in tiny.items() if name in known})


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
    approach = Defended(mode=mode).bind(target, NoiseStream(0))
    found = attack.perturb(approach, Samples(x, y, rows), threat, NoiseStream(0))
    assert found.device == device


def chain_there(chain, device):
    """A calibrated, untrained defense on small images, its network there."""
    defense = Defense.from_text(chain)
    target = Subject(defense).target()
    return replace(target, classifier=target.classifier.to(device))


@pytest.mark.parametrize("chain", ["vanilla", "random-states/vanilla"])
@pytest.mark.parametrize("name", registry.names("surrogates"))
def test_every_view(device, name, chain):
    view = registry.find("surrogates", name)()
    target = chain_there(chain, device)
    _, x, y, rows = setting(device)
    if view.applies(target) is not None:
        pytest.skip(view.applies(target))
    approach = view.bind(target, NoiseStream(0), (target,) * view.needs_sources)
    samples = Samples(x, y, rows)
    for _ in range(2):
        approach.surface.value_and_grad(Samples(x, y, rows), CrossEntropy())
    start = approach.start(samples, LINF, NoiseStream(0), 0)
    assert approach.surface.value(Samples(start, y, rows), CrossEntropy()).value.device == device
    assert approach.confirm(samples.moved(start)).device == device


@pytest.mark.parametrize("name", registry.names("audits"))
def test_every_audit(device, name):
    target, x, y, rows = setting(device)
    audit = small(registry.find("audits", name)())
    audit.examine(Case(target, Judge(target, 3), Samples(x, y, rows), LINF))


def test_a_battery_of_audits(device, monkeypatch):
    white = (Stage(PGD(steps=2)),)
    monkeypatch.setattr("robustdeq.audits.outsiders.white_box", lambda target, randomised: white)
    monkeypatch.setattr("robustdeq.audits.outsiders.every_target", lambda target: ())
    target, x, y, _ = setting(device)
    report = examine(lambda: target, Samples.of(x, y), LINF, audits=["gradient"])
    assert report.n == len(y)


@pytest.mark.slow
@pytest.mark.parametrize("chain", registered_chains())
def test_every_training_and_a_trial_of_what_it_trained(device, chain, tmp_path):
    recipe = Recipe(LINF, epochs=1, batch_size=16, validate_every=1)
    data, store = toy_data(train=32, held_out=8, test=4), ResultStore(tmp_path)
    entrant = Entrant(Defense.from_text(chain), recipe).trained_on(data.training_digest())
    trained = ensure_trained(store, entrant, data, device)

    def load():
        return load_model(store, entrant, TASK, device)

    column = Column("some", (Stage(PGD(steps=2)),), (0,))
    bench = Bench(load, trained.checkpoint, device, 3, randomised=trained.randomised)
    assert tried(entrant, column, bench, data.test).status == "done"


@pytest.mark.parametrize(
    "how",
    [
        {"goal": "cost"},
        {"goal": "map"},
        {"deployment": "judged-longer"},
        {"deployment": "crafted-longer"},
    ],
)
def test_every_kind_of_column(device, how):
    column = Column("some", (Stage(PGD(steps=2)),), (0,), **how)
    bench = Bench(lambda: setting(device)[0], "0" * 64, device, 3)
    assert tried(Entrant(Vanilla(channels=8)), column, bench, toy_images(4, TASK)).status == "done"
