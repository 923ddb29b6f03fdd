"""Laws of every attack the registry finds."""

import importlib.util
from fractions import Fraction

import pytest
import torch
from toys import ToySurface, confirmed, conv_net, images

from robustdeq import registry
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.dlr import DLR
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.spec import decode, encode
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL = Linf(Fraction(1, 10)), L2(Fraction(3, 5))
every_threat = pytest.mark.parametrize("threat", [LINF, BALL], ids=["linf", "l2"])

SMALL = {  # every attack at a budget for tests; what is not named runs with its defaults
    "pgd": PGD(steps=5, restarts=2),
    "apgd": APGD(steps=12, targets=2, objective=DLR()),
    "square": Square(queries=40),
    "jiio": JIIO(rounds=5),
    "fab": FAB(steps=12, targets=2, restarts=2),
    "autoattack": registry.find("attacks", "autoattack")(attacks=("apgd-ce",)),
}
OWN = [
    *(SMALL[name] for name in ("pgd", "apgd", "jiio", "square", "fab")),
    PGD(steps=4, random_start=False, step=Fraction(1, 3), objective=Margin()),
    APGD(steps=9, restarts=2),
]
every_own_attack = pytest.mark.parametrize("attack", OWN, ids=lambda a: a.plugin_name())


LIBRARIES = {"autoattack": "pyautoattack", "torchattacks": "torchattacks"}


def registered():
    found = []
    for name in registry.names("attacks"):
        missing = name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]) is None
        mark = pytest.mark.skipif(missing, reason="the extra 'attacks' is not installed")
        attack = SMALL.get(name) or registry.find("attacks", name)()
        found.append(pytest.param(attack, id=name, marks=mark))
    return found


every_attack = pytest.mark.parametrize("attack", registered())


@pytest.fixture(scope="module")
def net():
    return conv_net()


def setting(net, count=8, dtype=torch.float64):
    x = images(count, (2, 8, 6), dtype)
    with torch.no_grad():
        y = net(x.double()).argmax(1)
    return x, y, torch.arange(count) + 100


@every_threat
@every_attack
def test_candidates_lie_in_the_threat_set(net, attack, threat):
    x, y, rows = setting(net)
    if attack.plugin_name() == "torchattacks" and threat is BALL:
        attack = type(attack)("PGDL2")
    surface = ToySurface(lambda x: net(x.double()))
    found = attack.perturb(confirmed(surface), Samples(x, y, rows), threat, NoiseStream(1))
    assert found.shape[1:] == x.shape
    assert 1 <= len(found) <= 3
    for candidate in found:
        assert threat.contains(x, candidate).all(), threat.excess(x, candidate)


@every_attack
def test_an_empty_batch_costs_nothing_and_gives_empty_candidates(net, attack):
    x, y, rows = setting(net, 0)
    surface = ToySurface(net)
    found = attack.perturb(confirmed(surface), Samples(x, y, rows), LINF, NoiseStream(1))
    assert found.shape[1:] == x.shape
    assert not surface.cost.counts
    assert not surface.asked


@every_threat
@every_own_attack
def test_a_row_is_attacked_alike_in_any_batch_and_order(net, attack, threat):
    x, y, rows = setting(net)
    whole = attack.perturb(confirmed(ToySurface(net)), Samples(x, y, rows), threat, NoiseStream(1))
    for part in (torch.tensor([5]), torch.tensor([6, 1, 3])):
        alone = attack.perturb(
            confirmed(ToySurface(net)),
            Samples(x[part], y[part], rows[part]),
            threat,
            NoiseStream(1),
        )
        # float64: a convolution's sums depend on the batch in their last bits
        torch.testing.assert_close(alone, whole[:, part], rtol=0, atol=1e-9)


@every_own_attack
def test_another_seed_is_another_search(net, attack):
    x, y, rows = setting(net)
    surface = ToySurface(net)
    first, second = (
        attack.perturb(Approach(surface), Samples(x, y, rows), LINF, NoiseStream(seed))
        for seed in (1, 2)
    )
    random = getattr(attack, "random_start", True)
    assert torch.equal(first, second) != random


@every_own_attack
def test_an_attack_reads_no_row_after_its_loss_is_confirmed(net, attack):
    """With every row broken at the first look, only that look is paid for."""
    x, y, rows = setting(net)
    surface = ToySurface(net)
    attack.perturb(
        confirmed(surface), Samples(x, (y + 1) % 4, rows), Linf(Fraction(1, 10**6)), NoiseStream(1)
    )
    targets_first = 1 if getattr(attack, "targets", 0) else 0
    assert surface.cost.counts["forward"] == len(x) * (1 + targets_first)


@every_own_attack
def test_a_surrogate_that_was_wrong_before_the_attack_excuses_nobody(net, attack):
    """Surrogate wrong everywhere, deployed never fooled: every row gets its whole search."""
    x, y, rows = setting(net)
    wrong = (y + 1) % 4
    surface = ToySurface(net, lambda x: torch.nn.functional.one_hot(wrong[: len(x)], 4).double())
    found = attack.perturb(Approach(surface), Samples(x, wrong, rows), LINF, NoiseStream(1))
    assert (LINF.distance(x, found[0]) > 0.5 * float(LINF.eps)).all()


@every_threat
@every_own_attack
def test_three_classes_are_enough(attack, threat):
    net = conv_net(classes=3)
    x, y, rows = setting(net)
    if attack is SMALL["apgd"]:
        with pytest.raises(SpecError, match="use the objective 'margin'"):
            attack.perturb(confirmed(ToySurface(net)), Samples(x, y, rows), threat, NoiseStream(1))
        attack = APGD(steps=5, targets=9, objective=Margin())
    found = attack.perturb(confirmed(ToySurface(net)), Samples(x, y, rows), threat, NoiseStream(1))
    assert threat.contains(x, found[0]).all()


@every_attack
def test_channels_last_images_are_attacked_like_any(net, attack):
    x, y, rows = setting(net)
    last = x.to(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    surface = ToySurface(lambda x: net(x.double()))
    found, same = (
        attack.perturb(confirmed(surface), Samples(images, y, rows), LINF, NoiseStream(1))
        for images in (x, last)
    )
    torch.testing.assert_close(found, same, rtol=0, atol=1e-5)


@every_attack
def test_an_attack_leaves_its_input_alone(net, attack):
    x, y, rows = setting(net)
    before = x.clone(), y.clone(), rows.clone()
    surface = ToySurface(lambda x: net(x.double()))
    attack.perturb(confirmed(surface), Samples(x, y, rows), LINF, NoiseStream(1))
    assert all(torch.equal(a, b) for a, b in zip(before, (x, y, rows), strict=True))
    assert not x.requires_grad


@every_attack
def test_an_attack_survives_its_spec(attack):
    assert decode(registry.contract("attacks"), encode(attack)) == attack


@pytest.mark.parametrize(
    ("name", "field"),
    [("pgd", "steps"), ("apgd", "restarts"), ("square", "queries"), ("fab", "targets")],
)
def test_a_budget_below_one_is_refused_by_name(name, field):
    with pytest.raises(SpecError, match=f"attack '{name}': {field} = 0"):
        registry.find("attacks", name)(**{field: 0})
