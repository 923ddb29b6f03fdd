"""The adapters run the libraries unmodified and keep them from everything else."""

import random
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from toys import ToySurface, confirmed, conv_net, images

from robustdeq.attacks import facade
from robustdeq.attacks.autoattack import AutoAttack
from robustdeq.attacks.facade import SurfaceModule, sealed
from robustdeq.attacks.torchattacks import TorchAttacks
from robustdeq.errors import SpecError, UnknownName
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.spec import decode, encode
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

pyautoattack = pytest.importorskip("pyautoattack")
torchattacks = pytest.importorskip("torchattacks")

LINF = Linf(Fraction(1, 10))
ADAPTERS = [
    AutoAttack(attacks=("apgd-ce", "fab-t")),
    TorchAttacks(options=(("steps", 5), ("alpha", "1/40"))),
    TorchAttacks("DeepFool"),
]
every_adapter = pytest.mark.parametrize("attack", ADAPTERS, ids=["autoattack", "pgd", "deepfool"])


class Broken(RuntimeError):
    pass


def run(attack, net, count=6, threat: ThreatModel = LINF, seed=1):
    """The images and the candidates of an attack on them."""
    x, net = images(count, (2, 8, 6), torch.float32), net.float()
    rows, noise = torch.arange(count), NoiseStream(seed)
    return x, attack.perturb(
        confirmed(ToySurface(net)), Samples(x, net(x).argmax(1), rows), threat, noise
    )


def world(net):
    return (
        torch.get_rng_state().tolist(),
        str(np.random.get_state()),
        random.getstate(),
        sys.gettrace(),
        torch.is_grad_enabled(),
        list(warnings.filters),
        [module.training for module in net.modules()],
        [p.requires_grad for p in net.parameters()],
        [p.grad for p in net.parameters()],
    )


@every_adapter
def test_a_library_leaves_no_trace(attack):
    net = conv_net()
    net.get_submodule("1").train()  # a mixed mode, which neither eval() nor train() brings back
    tracer = lambda frame, event, argument: None  # noqa: E731
    before_tracer = sys.gettrace()
    sys.settrace(tracer)
    try:
        before = world(net)
        with torch.no_grad():
            run(attack, net)
        assert world(net) == before
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before_tracer)


@every_adapter
def test_a_library_that_raises_leaves_no_trace_either(attack):
    net, calls = conv_net().float(), []

    def failing(x):
        calls.append(len(x))
        if len(calls) > 3:
            raise Broken
        return net(x)

    before = world(net)
    surface, x = ToySurface(failing), images(6, (2, 8, 6), torch.float32)
    with pytest.raises(Broken):
        attack.perturb(
            confirmed(surface), Samples(x, net(x).argmax(1), torch.arange(6)), LINF, NoiseStream(1)
        )
    assert world(net) == before


@every_adapter
def test_the_same_noise_gives_the_same_images(attack):
    first, second = (run(attack, conv_net())[1] for _ in range(2))
    assert torch.equal(first, second)


def test_the_library_is_seeded_by_the_noise():
    attack = TorchAttacks(options=(("steps", 1), ("alpha", "1/400")))
    first, second = (run(attack, conv_net(), seed=seed)[1] for seed in (1, 2))
    assert not torch.equal(first, second)


@every_adapter
def test_a_library_breaks_what_it_can(attack):
    net = conv_net()
    x, (found,) = run(attack, net, 20)
    assert (net(found).argmax(1) != net(x).argmax(1)).sum() >= 3
    assert LINF.contains(x, found).all()


def test_a_minimum_norm_attack_that_lands_outside_the_radius_has_failed():
    net, tiny = conv_net(), Linf(Fraction(1, 10**5))
    x, (found,) = run(TorchAttacks("DeepFool"), net, threat=tiny)
    assert torch.equal(found, x)


def test_autoattack_takes_as_many_targets_as_there_are_classes():
    x, (found,) = run(AutoAttack(attacks=("apgd-t",)), conv_net(classes=4))
    assert LINF.contains(x, found).all()


def test_autoattack_says_which_attacks_work_with_three_classes():
    with pytest.raises(SpecError, match="'apgd-t' needs at least 4 classes, the model has 3"):
        run(AutoAttack(), conv_net(classes=3))
    x, (found,) = run(AutoAttack(attacks=("apgd-ce", "fab-t")), conv_net(classes=3))
    assert LINF.contains(x, found).all()


def test_autoattack_runs_in_the_l2_ball():
    ball = L2(Fraction(3, 5))
    x, (found,) = run(AutoAttack(attacks=("apgd-ce",)), conv_net(), threat=ball)
    assert ball.contains(x, found).all()


def test_what_the_checks_of_autoattack_say_is_logged(caplog):
    net = torch.nn.Sequential(conv_net(), torch.nn.Softmax(1))
    with caplog.at_level("INFO", logger="robustdeq.attacks.autoattack"):
        run(AutoAttack(attacks=("apgd-ce",)), net)
    assert "probability distribution" in caplog.text


def test_one_flagged_model_does_not_taint_the_next():
    from pyautoattack import checks

    checks.funcs["backward"] = 3
    with sealed(0):
        assert set(checks.funcs.values()) == {0}


def test_what_a_library_prints_and_warns_is_heard_and_not_shown(capsys):
    with sealed(0) as said:
        print("working")
        warnings.warn("careful", stacklevel=1)
    assert sorted(said) == ["careful", "working"]
    assert capsys.readouterr().out == ""


def test_the_facade_gives_fresh_logits_and_counts_images():
    net = conv_net().float()
    kept = torch.zeros(3, 4)
    module = SurfaceModule(ToySurface(lambda x: kept), torch.device("cpu"))
    module(images(3, (2, 8, 6))).fill_(-9.0)
    assert kept.abs().max() == 0
    assert module.queries == 3
    seen = []
    module = SurfaceModule(ToySurface(lambda x: seen.append(x) or net(x)), torch.device("cpu"))
    module(images(3, (2, 8, 6)).to(memory_format=torch.channels_last))
    assert seen[0].is_contiguous()
    assert seen[0].dtype == torch.float32


def test_the_facade_never_owns_a_surface_that_is_a_module():
    class ModuleSurface(ToySurface, torch.nn.Module):
        def __init__(self, net):
            torch.nn.Module.__init__(self)
            ToySurface.__init__(self, net)

    surface = ModuleSurface(conv_net())
    SurfaceModule(surface, torch.device("cpu")).eval()
    assert surface.training


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TorchAttacks("PDG"), "did you mean 'PGD'"),
        (lambda: TorchAttacks("MultiAttack"), "unknown attack of torchattacks"),
        (lambda: TorchAttacks(options=(("step", 3),)), "did you mean 'steps'"),
        (lambda: TorchAttacks(options=(("eps", 0.1),)), "'eps' of 'PGD' is decided by the trial"),
        (lambda: TorchAttacks(options=(("steps", 3), ("steps", 4))), "name one twice"),
        (lambda: TorchAttacks(options=(("alpha", "2/0"),)), 'no fraction like "2/255"'),
        (lambda: TorchAttacks(options=(("steps", None),)), "no number"),
        (lambda: AutoAttack(attacks=("apgd",)), "did you mean 'apgd-"),
    ],
)
def test_a_mistake_in_the_spec_is_named_before_any_query(build, message):
    with pytest.raises(SpecError, match=message):
        build()


def test_a_spec_has_one_digest_in_whatever_order_its_options_stand():
    one = TorchAttacks(options=(("steps", 5), ("alpha", "1/40")))
    other = TorchAttacks(options=(("alpha", "1/40"), ("steps", 5)))
    assert one == other == decode(TorchAttacks, encode(one))
    assert hash(one) == hash(other)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(facade.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r'pip install "robustdeq\[attacks\]"'):
        run(TorchAttacks(), conv_net())


def test_an_upstream_installation_is_called_in_its_own_words(monkeypatch):
    """The upstream package takes `bs` and returns the images alone."""

    class Upstream(pyautoattack.AutoAttack):
        def run_standard_evaluation(self, x, y, bs=250):
            return super().run_standard_evaluation(x, y, batch_size=bs)[0]

    module = type(sys)("autoattack")
    module.AutoAttack = Upstream
    monkeypatch.setitem(sys.modules, "autoattack", module)
    module.__spec__ = pyautoattack.__spec__
    find = facade.importlib.util.find_spec
    monkeypatch.setattr(
        facade.importlib.util, "find_spec", lambda n: None if n == "pyautoattack" else find(n)
    )
    attack = AutoAttack(attacks=("apgd-ce",))
    x, (found,) = run(attack, conv_net())
    assert not torch.equal(found, x)
    with pytest.raises(UnknownName, match="fab-t"):
        AutoAttack(attacks=("fab-tt",))
