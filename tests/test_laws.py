"""The ten laws. Read this file first: what robustdeq promises, whatever plug-in is added.

Each class is a law, put to everything the registry finds. Laws of one package alone have further
tests beside that package: `results/` holds Append and Monotone on real stores, `attacks/` Ball and
Seed for every attack, `test_surface.py` and `test_adjoints.py` the gradients behind Gradient.
"""

import dataclasses
import json
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
import torch

from robustdeq import registry
from robustdeq.adjoints.implicit import Implicit
from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.base import Attack
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Batch, DefendedModel, Defense
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import ContractViolation, StoreError
from robustdeq.evaluation.bench import Bench, Source
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.trial import Trial
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.results.boards.leaderboard import leaderboard
from robustdeq.results.store.result_store import ResultStore
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.spec import decode, encode
from robustdeq.surrogates.base import Surrogate
from robustdeq.testing.subject import registered_chains
from robustdeq.testing.toys import TASK, tiny_deq, toy_data, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train
from robustdeq.training.clients import cut

N = 16  # test images
CPU = torch.device("cpu")
LINF = Linf(Fraction(1, 8))
DATA = toy_data(train=64, held_out=16, test=N)
ROWS = torch.arange(len(DATA.test))
NOISE = NoiseStream(0).child("laws")

SOLVERS, ADJOINTS = registry.names("solvers"), registry.names("adjoints")
every_solver = pytest.mark.parametrize("solver", SOLVERS)
every_adjoint = pytest.mark.parametrize("adjoint", ADJOINTS)
every_chain = pytest.mark.parametrize("chain", registered_chains())
# Square needs no gradient, APGD and PGD all of one: between them every call of a surface is made.
ATTACKS = {
    "pgd": PGD(steps=4),
    "apgd": APGD(steps=6),
    "apgd-targeted": APGD(steps=4, targets=2),
    "square": Square(queries=20),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@pytest.fixture(scope="module")
def trained():
    """A small DEQ, trained just enough to be right on clean images and not on all attacked ones."""
    defense = Vanilla(channels=8)
    recipe = Recipe(LINF, epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model, {})


def target_of(chain, steps=None):
    """An untrained defended model with an honest calibration, of so many solver steps at most."""
    return deepcopy(calibrated(chain, steps))  # no two share anything that a call could change


@cache
def calibrated(chain, steps):
    defense = Defense.from_text(chain)
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    if isinstance(network, DEQClassifier):
        network = cut(network, steps)
    bare, rows = DefendedModel(defense, network, {}), torch.arange(len(DATA.held_out))
    held_out = Batch(DATA.held_out.images, DATA.held_out.labels, rows, LINF)
    found = defense.calibrate(bare, held_out, NOISE.at(rows))
    return DefendedModel(defense, network, found)


def run(target, attack, surrogate="defended", seeds=(0,), batch_size=16, images=None):
    """One trial of a target on the test images."""
    view = registry.find("surrogates", surrogate)()
    column = Column("law", (Stage(attack, view),), seeds, images, sources=(Entrant(Vanilla()),))
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": len(DATA.test)}
    trial = Trial(Entrant(target.defense), column, data, LINF)
    source = Source("d" * 64, lambda: target)
    bench = Bench(lambda: target, "c" * 64, CPU, batch_size, source=lambda entrant: source)
    return evaluate(trial, bench, DATA.test)


class TestRow:
    """Law 1: a row's prediction does not depend on its batch peers."""

    STEADY = (Picard(), Picard(damping=0.7), Picard(tol=0.0, max_steps=9), FixedDepth(max_steps=9))

    @staticmethod
    def moved(model, x):
        """The largest change of a logit between all rows at once, three at a time, and one."""
        whole = model.predict(x).logits
        parts = [torch.cat([model.predict(p).logits for p in x.split(n)]) for n in (3, 1)]
        return max((part - whole).abs().max().item() for part in parts)

    @pytest.mark.parametrize("solver", STEADY, ids=repr)
    @pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
    def test_under_picard_and_fixed_depth_converged_or_not(self, solver, dtype, bound):
        model = tiny_deq(channels=8, solver=solver).to(dtype)
        assert self.moved(model, DATA.test.images.to(dtype)) <= bound

    @every_solver
    def test_under_an_accelerated_solver_up_to_the_noise_of_its_tolerance(self, solver):
        """The noise: how far the answers at this tolerance lie from the equilibrium itself."""
        found = registry.find("solvers", solver)()
        model, x = tiny_deq(channels=8, solver=found), DATA.test.images
        true = model.replaced(solver=Picard(tol=1e-7, max_steps=500)).predict(x).logits
        prediction = model.predict(x)
        assert prediction.converged.all()
        noise = (prediction.logits - true).abs().max().item()
        assert self.moved(model, x) <= max(10 * noise, 1e-5)

    @every_chain
    def test_of_every_registered_defense(self, chain):
        x = DATA.test.images
        whole = target_of(chain).predict(x, ROWS, NOISE).logits
        order = ROWS.flip(0)
        parts = torch.cat([target_of(chain).predict(x[p], p, NOISE).logits for p in order.split(5)])
        torch.testing.assert_close(parts, whole[order], rtol=0, atol=1e-5)


class TestValue:
    """Law 2: every adjoint yields bitwise the same logits."""

    @every_adjoint
    @every_solver
    def test_with_and_without_a_graph(self, adjoint, solver):
        model = tiny_deq(
            solver=registry.find("solvers", solver)(max_steps=12),
            adjoint=registry.find("adjoints", adjoint)(),
        )
        x = DATA.test.images.clone().requires_grad_()
        logits = model(x)
        assert logits.requires_grad
        assert torch.equal(logits.detach(), model.predict(DATA.test.images).logits)


class TestGradient:
    """Law 3: implicit and through-solver are the derivative; the truncations only ascend."""

    EXACT = (Implicit(Anderson(tol=1e-12, max_steps=300)), ThroughSolver())

    @staticmethod
    def slopes(adjoint):
        """The derivative of a row's loss along its gradient, by the rule and by differences."""
        model = tiny_deq(solver=Picard(tol=1e-13, max_steps=500), adjoint=adjoint).double()
        split = toy_images(5, seed=3)
        x, y = split.images.double().requires_grad_(), split.labels
        loss = torch.nn.functional.cross_entropy
        (gradient,) = torch.autograd.grad(loss(model(x), y, reduction="sum"), x)
        along = gradient / gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        with torch.no_grad():
            up, down = (
                loss(model(x + sign * 1e-5 * along), y, reduction="none") for sign in (1, -1)
            )
        return gradient.flatten(1).norm(dim=1), (up - down) / 2e-5

    @pytest.mark.parametrize("adjoint", EXACT, ids=lambda a: a.plugin_name())
    def test_it_is_the_central_difference_to_five_digits(self, adjoint):
        analytic, numeric = self.slopes(adjoint)
        torch.testing.assert_close(analytic, numeric, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("adjoint", [Unrolled(1), Unrolled(5), JacobianFree()], ids=repr)
    def test_a_truncated_gradient_is_at_least_a_way_up(self, adjoint):
        _, numeric = self.slopes(adjoint)
        assert (numeric > 0).all()

    @every_adjoint
    def test_every_registered_adjoint_leads_up(self, adjoint):
        _, numeric = self.slopes(registry.find("adjoints", adjoint)())
        assert (numeric > 0).all()


class TestMode:
    """Law 4: `.training`, `requires_grad` and the global random state survive an evaluation."""

    @staticmethod
    def facts(target):
        modules, parameters = target.classifier.modules(), target.classifier.parameters()
        return (
            [m.training for m in modules],
            [p.requires_grad for p in parameters],
            [p.grad for p in target.classifier.parameters()],
            {k: v.clone() for k, v in target.classifier.state_dict().items()},
            torch.get_rng_state(),
        )

    @pytest.mark.parametrize("name", registry.names("surrogates"))
    @pytest.mark.parametrize("chain", registered_chains())
    def test_of_every_defense_through_every_view(self, chain, name):
        target = target_of(chain, steps=6)  # no promise about modes needs an equilibrium
        mixed = next(iter(target.classifier.children()))
        mixed.training = True  # even a mixed mode is nobody's to change
        before = self.facts(target)
        run(target, PGD(steps=2), name, images=4)
        after = self.facts(target)
        assert before[:3] == after[:3]
        assert all(torch.equal(before[3][k], after[3][k]) for k in before[3])
        assert torch.equal(before[4], after[4])


@dataclass(frozen=True)
class Overstep(Attack):
    """Every pixel moves to grey by the radius, and a little further."""

    by: Fraction

    def run(self, search):
        x = search.samples.images
        search.put_forward(x + (0.5 - x).sign() * float(search.threat.eps + self.by))


class TestBall:
    """Law 5: leaving the threat set by more than 1e-6 is an error that names the excess."""

    def test_an_attack_that_leaves_the_ball_stops_the_trial(self, trained):
        message = r"'overstep' left the linf ball of radius 1/8 or \[0, 1\] by 0.001; project"
        with pytest.raises(ContractViolation, match=message):
            run(trained, Overstep(Fraction(1, 1000)))

    @every_attack
    @pytest.mark.parametrize("name", registry.names("surrogates"))
    def test_every_attack_stays_inside_through_every_view(self, trained, attack, name):
        record, tables = run(trained, attack, name)
        if record.status == "refused":
            assert record.reason == registry.find("surrogates", name)().applies(trained)
            return
        distance = tables["samples"]["distance"].to_numpy()
        assert distance.max() <= float(LINF.eps) + 1e-6
        pixels = np.concatenate(tables["images"]["image"].to_pylist())
        assert pixels.min() >= -1e-6
        assert pixels.max() <= 1 + 1e-6


class TestJudge:
    """Law 6: `robust` is what `DefendedModel.predict` alone says, cold."""

    @every_attack
    def test_a_robust_row_withstands_the_stored_image_and_a_broken_one_does_not(
        self, trained, attack
    ):
        record, tables = run(trained, attack)
        samples = tables["samples"]
        images = torch.tensor(tables["images"]["image"].to_pylist()).reshape(DATA.test.images.shape)
        right = trained.predict(images, ROWS, NOISE).labels == DATA.test.labels
        robust = torch.from_numpy(samples["robust"].to_numpy())
        clean = trained.predict(DATA.test.images, ROWS, NOISE).labels == DATA.test.labels
        assert torch.equal(robust, right & clean)
        assert record.robust == robust.double().mean().item()
        assert record.clean == clean.double().mean().item()
        assert 0 < record.robust < record.clean, "the test needs rows of both kinds"

    def test_the_judge_alone_decides_whatever_the_surface_believes(self, trained):
        """Nothing moves, so nothing breaks, whatever an attack's own bookkeeping says."""
        record, _ = run(trained, Overstep(-LINF.eps))
        assert record.robust == record.clean


class TestSeed:
    """Law 7: a trial is a function of its specification."""

    @every_attack
    def test_twice_is_bitwise_once(self, trained, attack):
        first, second = (run(trained, attack, seeds=(0, 1))[1] for _ in range(2))
        for name in ("samples", "images"):
            assert first[name].equals(second[name])

    @every_attack
    def test_another_batch_size_changes_no_random_draw(self, trained, attack):
        """Rounding is all that is left: convolutions sum in another order."""
        first, second = (run(trained, attack, batch_size=size)[1] for size in (16, 5))
        for name in ("robust", "adv_pred"):
            assert first["samples"][name].equals(second["samples"][name])
        margins = [table["samples"]["margin"].to_numpy() for table in (first, second)]
        np.testing.assert_allclose(*margins, atol=2e-2)

    def test_another_seed_is_another_trial(self, trained):
        first, second = (run(trained, PGD(steps=1), seeds=(seed,))[1] for seed in (0, 1))
        assert not first["images"]["image"].equals(second["images"]["image"])


class TestRoundTrip:
    """Law 8: decode(encode(x)) == x. (Golden records: `results/test_boards.py`.)"""

    REQUIRED = MappingProxyType(
        {"base": "vanilla", "eps": "8/255", "root": "photographs", "held_out": 5}
    )
    PLUGINS = tuple((kind, name) for kind in registry.CONTRACTS for name in registry.names(kind))

    @pytest.mark.parametrize(("kind", "name"), PLUGINS)
    def test_every_plugin_survives_a_file(self, kind, name):
        contract, fields = registry.contract(kind), dataclasses.fields(registry.find(kind, name))
        missing = dataclasses.MISSING
        bare = [f.name for f in fields if f.default is f.default_factory is missing]
        plugin = decode(contract, {"name": name, **{field: self.REQUIRED[field] for field in bare}})
        assert plugin.plugin_name() == name
        assert decode(contract, json.loads(json.dumps(encode(plugin)))) == plugin

    @every_chain
    def test_an_entrant_and_its_trial_survive_a_file(self, chain):
        entrant = Entrant(Defense.from_text(chain), Recipe(LINF, epochs=3), seed=7)
        assert decode(Entrant, json.loads(json.dumps(encode(entrant)))) == entrant
        views = tuple(registry.find("surrogates", name)() for name in registry.names("surrogates"))
        assert all(isinstance(view, Surrogate) for view in views)
        column = Column(
            "all", tuple(Stage(APGD(), view) for view in views), (0, 3), 5, (entrant,), "cost"
        )
        assert decode(Column, json.loads(json.dumps(encode(column)))) == column


@pytest.fixture
def stored(trained, tmp_path):
    """A store with one real record, and that record with its tables."""
    store = ResultStore(tmp_path)
    record, tables = run(trained, PGD(steps=2))
    store.write_protocol("law-v1", {
        "name": "law-v1", "data": record.data, "threat": record.threat,
        "training_seeds": [0], "columns": [record.column],
    })  # fmt: skip
    store.append(record, tables)
    return store, record, tables


class TestAppend:
    """Law 9: what is stored once is stored for ever."""

    def test_a_second_append_of_a_record_fails(self, stored):
        store, record, tables = stored
        with pytest.raises(StoreError, match="append-only"):
            store.append(record, tables)
        assert len(store.scan()) == 1


def attacked(samples, withstood):
    """The samples as another attack would leave them, and which images are robust then."""
    label = samples["label"].to_numpy()
    robust = withstood & (samples["clean_pred"].to_numpy() == label)
    columns = {
        "adv_pred": np.where(robust, label, (label + 1) % TASK.classes),
        "robust": robust,
        "margin": np.where(robust, 1.0, -1.0),
    }
    for name, values in columns.items():
        place, kind = samples.column_names.index(name), samples.schema.field(name).type
        samples = samples.set_column(place, name, pa.array(values).cast(kind))
    return samples, robust


class TestMonotone:
    """Law 10: no further record raises a checkpoint's lowest known figure."""

    @pytest.mark.parametrize("survivors", [0, 3, N])
    def test_the_board_never_rises(self, stored, survivors):
        store, record, tables = stored
        (before,) = leaderboard(store, "law-v1")
        samples, robust = attacked(tables["samples"], np.arange(N) < survivors)
        share = robust.mean().item()
        further = replace(record, run=1, robust=share, seeds={"0": share})
        store.append(further, {"samples": samples})
        (after,) = leaderboard(store, "law-v1")
        assert after.robust <= before.robust
        assert after.robust <= share
