"""The contract of an equilibrium network, for the package's own networks and for a foreign one."""

import copy
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from robustdeq.attacks.apgd import APGD
from robustdeq.audits.base import Case
from robustdeq.audits.binarisation import Binarisation
from robustdeq.audits.equilibria import Equilibria
from robustdeq.audits.gradient import Gradient
from robustdeq.audits.readouts import States, features
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.lyadeq import LyaDEQ
from robustdeq.defenses.state_ensemble import StateEnsemble
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.equilibrium import CellProblem
from robustdeq.errors import UnknownName
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.precision import flips
from robustdeq.evaluation.trial import Trial
from robustdeq.evaluation.union import every_target, strongest, white_box
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.notebook import attack
from robustdeq.samples import Samples
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.surface import Cost
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.network import counted_network
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.subject import registered_chains
from robustdeq.testing.toys import TASK, tiny_deq, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build

IMAGES = toy_images(8)
ROWS = torch.arange(8)


def network_of(defense):
    return build(Entrant(defense), TASK).eval().requires_grad_(False)


def registered():
    """Every registered chain whose network has an equilibrium, and the modes that move a start."""
    found = {chain: Vanilla.from_text(chain) for chain in registered_chains()}
    found |= {f"lyadeq {mode}": LyaDEQ(mode=mode) for mode in ("solver", "flow", "centred", "off")}
    built = {name: (defense, network_of(defense)) for name, defense in found.items()}
    return {n: pair for n, pair in built.items() if isinstance(pair[1], EquilibriumNetwork)}


REGISTERED = registered()


class Foreign(EquilibriumNetwork):
    """An equilibrium network of another package: z = tanh(W z + U x), nothing of ours inside."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner, self.outer = nn.Linear(64, 12), nn.Linear(12, TASK.classes)
            raw = torch.randn(12, 12)
        self.register_buffer("matrix", 0.7 * torch.linalg.qr(raw).Q)
        self.solver = Picard(tol=1e-4)
        self.eval().requires_grad_(False)

    def problem(self, x):
        u = self.inner(x.flatten(1))
        return CellProblem(lambda z, u: torch.tanh(z @ self.matrix.T + u), (u,), 0 * u)

    def readout(self, z):
        return 4 * self.outer(z)


@pytest.fixture
def foreign():
    return DefendedModel(Vanilla(), Foreign(), {})


class TestReplaced:
    @pytest.mark.parametrize("name", REGISTERED)
    def test_every_field_but_the_replaced_one_is_kept(self, name):
        _, network = REGISTERED[name]
        other = network.replaced(solver=FixedDepth(max_steps=3))
        assert type(other) is type(network)
        assert other.solver == FixedDepth(max_steps=3)
        before, after = dict(network.named_children()), dict(other.named_children())
        assert before.keys() == after.keys()
        assert all(after[key] is before[key] for key in before)
        x = IMAGES.images
        torch.testing.assert_close(
            network.replaced(solver=other.solver).predict(x).logits, other.predict(x).logits
        )

    def test_the_original_is_left_as_it_was(self):
        network = tiny_deq()
        head, start = network.head, network.start
        network.replaced(head=nn.Flatten(), start=nn.Identity(), solver=Picard(tol=1e-6))
        assert network.head is head
        assert network.start is start
        assert network.solver == Picard()
        assert "start" not in dict(network.named_modules())

    def test_weights_are_shared(self):
        network = tiny_deq()
        other = network.replaced(solver=Picard(tol=1e-6))
        assert all(a is b for a, b in zip(network.parameters(), other.parameters(), strict=True))

    def test_a_subclass_with_more_fields_keeps_them(self):
        class Scaled(DEQClassifier):
            def readout(self, z):
                return self.factor * super().readout(z)

        own = tiny_deq()
        network = Scaled(own.inject, own.cell, own.head, own.state, own.solver, own.adjoint)
        network.factor = 3.0
        x = IMAGES.images
        other = network.replaced(solver=Picard(tol=1e-3))
        torch.testing.assert_close(other.predict(x).logits, 3.0 * own.predict(x).logits)
        counted = counted_network(network, Cost())
        torch.testing.assert_close(counted.predict(x).logits, 3.0 * own.predict(x).logits)
        assert network.replaced(factor=2.0).factor == 2.0

    def test_an_unknown_field_names_the_nearest(self):
        with pytest.raises(UnknownName, match=r"'solvr'; did you mean 'solver'"):
            tiny_deq().replaced(solvr=Picard())


class TestRebuiltNetworks:
    """Whoever rebuilds a network keeps all that makes its states."""

    @pytest.mark.parametrize("name", REGISTERED)
    def test_a_binary_readout_reads_the_features_it_was_fitted_to(self, name):
        defense, network = REGISTERED[name]
        if isinstance(defense, StateEnsemble) or "infer" in vars(type(defense)):
            return  # read through its logits
        target = DefendedModel(defense, copy.deepcopy(network), {})
        seen = features(target)
        assert isinstance(seen, States)
        noise = NoiseStream(0)
        f = seen.of(IMAGES.images, ROWS, noise)
        weight = NoiseStream(1).normal(torch.arange(1), 0, (f.shape[1],))[0]
        read = seen.read(weight, 0.5).predict(IMAGES.images, ROWS, noise).logits
        expected = f @ weight + 0.5
        torch.testing.assert_close(read[:, 1], expected, rtol=1e-4, atol=1e-4)
        assert not read[:, 0].any()

    @pytest.mark.parametrize("name", REGISTERED)
    def test_a_counted_network_has_the_answers_of_the_bare_one(self, name):
        _, network = REGISTERED[name]
        cost = Cost()
        counted = counted_network(network, cost)
        x = IMAGES.images
        torch.testing.assert_close(counted.predict(x).logits, network.predict(x).logits)
        assert cost.counts["forward"] > 0
        copied = copy.deepcopy(counted)
        before = cost.counts["forward"]
        copied.predict(x)
        assert cost.counts["forward"] > before, "a copy's work is booked where the network's is"

    def test_the_binarization_audit_measures_a_plant_on_a_network_that_starts_elsewhere(self):
        """It read z* of another problem, one that starts at zero, and found no plant at all."""
        audit = Binarisation(images=4, inner=49, control=20)
        for mode in ("flow", "off"):
            defense = LyaDEQ(mode=mode, channels=8)
            (measure,) = audit.examine(case_of(DefendedModel(defense, network_of(defense), {}), 4))
            assert measure.value == 1.0, f"{mode}: {measure.detail}"


def case_of(target, images=8, eps=Fraction(1, 8)):
    x, y = IMAGES.images[:images], IMAGES.labels[:images]
    return Case(target, Judge(target, 64), Samples(x, y, ROWS[:images]), Linf(eps))


class TestForeignNetwork:
    """No `DEQClassifier`, and attacked, judged and audited as one."""

    def labels(self, target):
        return target.predict(IMAGES.images, ROWS, NoiseStream(0)).labels

    def test_it_is_attacked_with_the_exact_gradient(self, foreign):
        surface = Defended().bind(foreign, NoiseStream(0)).surface
        assert isinstance(surface, EquilibriumSurface)
        y = self.labels(foreign)
        x_adv, right = attack(foreign, IMAGES.images, y, "pgd", eps="1/4")
        assert (x_adv - IMAGES.images).abs().max() <= 0.25 + 1e-6
        assert right.sum() < len(y)

    def test_the_union_runs_every_view_of_states_on_it(self, foreign):
        stages = (*white_box(foreign), *every_target(foreign))
        ours = DefendedModel(Vanilla(channels=8), network_of(Vanilla(channels=8)), {})
        assert len(stages) == len((*white_box(ours), *every_target(ours)))
        quick = tuple(replace(stage, attack=replace(stage.attack, steps=2)) for stage in stages)
        y = self.labels(foreign)
        samples = Samples.of(IMAGES.images, y)
        found = strongest(quick, foreign, Judge(foreign, 8), samples, Linf(Fraction(1, 8)))
        assert found.standing.sum() < len(y)

    def test_audits_measure_it(self, foreign):
        case = case_of(foreign)
        case = replace(case, samples=Samples(case.x, self.labels(foreign), case.rows))
        (gradient,) = Gradient(images=8, directions=4).examine(case)
        assert not gradient.raised, gradient.detail
        (plants,) = Binarisation(images=4, inner=49, control=20).examine(case)
        assert "planted" in plants.detail
        assert not plants.raised, plants.detail
        assert Equilibria().applies(foreign) is None
        (branches,) = Equilibria(images=8, steps=4).examine(case)
        assert not branches.raised, branches.detail
        assert not flips(foreign, IMAGES.images, case.y).any()

    def test_a_trial_of_it_ends_in_a_record_of_its_solver(self, foreign):
        column = Column("pgd", (Stage(APGD(steps=5)),), (0,))
        data = {"name": "toy-images", "digest": IMAGES.digest(), "n": 8}
        trial = Trial(Entrant(Vanilla()), column, data, Linf(Fraction(1, 16)))
        bench = Bench(lambda: copy.deepcopy(foreign), "0" * 64, torch.device("cpu"))
        record, _ = evaluate(trial, bench, IMAGES)
        assert record.status == "done"
        assert record.deployment["solver"] == "picard"
        assert not {flag["name"] for flag in record.flags} & {"missing-gradient", "unconverged"}

    def test_a_read_out_of_its_states_is_judged_and_attacked(self, foreign):
        target = replace(foreign, defense=StateEnsemble(base=Vanilla(), states=3))
        logits = target.predict(IMAGES.images, ROWS, NoiseStream(0)).logits
        surface = Defended().bind(target, NoiseStream(0)).surface
        seen = surface.view(IMAGES.images, ROWS, frozenset({"logits"})).logits
        torch.testing.assert_close(seen, logits, rtol=1e-4, atol=1e-4)
