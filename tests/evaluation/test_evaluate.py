"""One trial from a loaded entrant to its record: the figures agree, and distrust is raised."""

import copy
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Card, DefendedModel, Defense, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.inference import NETWORK
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.precision import flips
from robustdeq.evaluation.trial import Trial
from robustdeq.models.cells import Cell
from robustdeq.results.flags import find_flag
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.samples import Samples
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.testing.toys import TASK, tiny_deq, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train

CPU = torch.device("cpu")
DATA = toy_data(train=64, held_out=16, test=16)
INF, NAN = torch.inf, torch.nan
N = len(DATA.test)
ROWS = torch.arange(N)
LINF = Linf(Fraction(1, 8))
QUICK = Stage(Square(queries=2))


def run(
    target, *stages, seeds=(0,), images=None, split=DATA.test, threat=LINF,
    load=lambda target: target, **watch,
):  # fmt: skip
    """One trial; every load gives the target itself, unless `load` makes another of it."""
    column = Column("column", stages or (QUICK,), seeds, images)
    data = {"name": "toy-images", "digest": split.digest(), "n": len(split)}
    trial = Trial(Entrant(target.defense), column, data, threat)
    bench = Bench(lambda: load(target), "c" * 64, CPU, batch_size=5)
    return evaluate(trial, bench, split, **watch)


def untrained(defense):
    return DefendedModel(defense, build(Entrant(defense), TASK).eval().requires_grad_(False), {})


@pytest.fixture(scope="module")
def target():
    """A DEQ that is right on most clean images and wrong on one that carries another label."""
    defense = Vanilla(channels=8)
    recipe = Recipe(LINF, epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model, {})


@pytest.fixture(scope="module")
def mislabelled():
    """The test images, of which image 3 has another image's label."""
    labels = DATA.test.labels.clone()
    labels[3] = (labels[3] + 1) % TASK.classes
    return replace(DATA.test, labels=labels)


@pytest.fixture(scope="module")
def outcome(target, mislabelled):
    return run(target, Stage(PGD(steps=4)), seeds=(0, 5), split=mislabelled)


class TestFigures:
    def test_the_accuracies_are_those_of_the_samples(self, outcome):
        record, tables = outcome
        robust = tables["samples"]["robust"].to_numpy().reshape(2, N)
        assert record.n == N
        assert record.robust == robust.all(0).mean()
        assert record.seeds == {"0": robust[0].mean(), "5": robust[1].mean()}
        samples = tables["samples"].slice(0, N)
        right = samples["clean_pred"].to_numpy() == samples["label"].to_numpy()
        assert record.clean == right.mean()
        assert 0 < record.robust < record.clean < 1, "the test needs rows of every kind"

    def test_every_image_has_one_row_for_each_seed(self, outcome):
        samples = outcome[1]["samples"]
        assert samples["index"].to_pylist() == [*range(N), *range(N)]
        assert samples["attack_seed"].to_pylist() == [0] * N + [5] * N

    def test_margin_and_prediction_tell_the_same_story(self, outcome):
        samples = outcome[1]["samples"].to_pydict()
        for label, adversarial, margin_, robust in zip(
            *(samples[name] for name in ("label", "adv_pred", "margin", "robust")), strict=True
        ):
            assert (margin_ > 0) == (adversarial == label)
            assert not (robust and margin_ <= 0)

    def test_an_image_that_was_wrong_already_is_left_alone(self, outcome):
        samples = outcome[1]["samples"]
        distance = samples["distance"].to_numpy().reshape(2, N)
        assert (distance[:, 3] == 0).all()
        assert (np.delete(distance, 3, axis=1) > 0).all()
        assert not samples["robust"].to_numpy().reshape(2, N)[:, 3].any()

    def test_the_stored_images_are_at_the_stored_distance(self, outcome):
        tables = outcome[1]
        images = torch.tensor(tables["images"]["image"].to_pylist()).reshape(2, N, *TASK.shape)
        for number in range(2):
            distance = tables["samples"]["distance"].to_numpy()[number * N : (number + 1) * N]
            found = LINF.distance(DATA.test.images, images[number]).numpy()
            np.testing.assert_allclose(found, distance, rtol=0, atol=1e-7)

    def test_the_deployment_is_the_networks_and_its_shares_are_the_samples(self, outcome, target):
        record, tables = outcome
        met = {name: tables["samples"][name].to_numpy() <= 1e-3 for name in
               ("residual_clean", "residual_adv")}  # fmt: skip
        assert record.deployment == {
            "solver": "picard", "tolerance": 1e-3, "budget": 60,
            "converged_clean": met["residual_clean"].mean(),
            "converged_adversarial": met["residual_adv"].reshape(2, N).mean(1).min(),
        }  # fmt: skip

    def test_the_cost_is_counted_per_image_over_all_seeds(self, outcome):
        cost = outcome[0].cost
        attacked = N - 1
        # PGD: 4 gradients, 1 value and at least the look of the crafter, per row and seed, for
        # rows that are never confirmed broken; fewer for the others.
        assert 0 < cost["calls"] <= 2 * attacked * (4 + 1 + 5 + 1) / N
        assert cost["forward"] > cost["calls"]
        assert cost["vjp"] > 0

    def test_a_record_can_be_stored_and_read_back(self, outcome, tmp_path):
        record, tables = outcome
        store = ResultStore(tmp_path)
        store.append(record, tables)
        (found,) = store.scan()
        assert found == record
        assert Record.from_json(record.to_json()) == record

    def test_a_column_on_fewer_images_says_so(self, target):
        record, tables = run(target, images=5)
        assert record.n == 5
        assert tables["samples"]["index"].to_pylist() == [0, 1, 2, 3, 4]

    def test_progress_ends_with_every_attacked_image(self, target, mislabelled):
        seen = []
        run(target, split=mislabelled, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(0, N - 1), (5, N - 1), (10, N - 1), (N - 1, N - 1)]

    def test_progress_counts_a_row_once_for_every_stage(self, target):
        seen = []
        stages = Stage(PGD(steps=1)), Stage(Square(queries=1))
        run(target, *stages, images=7, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(0, 14), (5, 14), (10, 14), (12, 14), (14, 14)]

    def test_a_later_stage_is_only_run_on_what_withstood_the_earlier(self, target):
        wide = Linf(Fraction(1, 2))
        first = Stage(PGD(steps=20))
        alone, _ = run(target, first, threat=wide)
        both, _ = run(target, first, Stage(Square(queries=50)), threat=wide)
        assert alone.robust == 0
        assert both.cost == alone.cost

    def test_stages_together_are_at_least_as_strong_as_each(self, target):
        stages = Stage(PGD(steps=2)), Stage(Square(queries=20))
        figures = [run(target, *part)[0].robust for part in (stages[:1], stages[1:], stages)]
        assert figures[2] <= min(figures[:2])


class TestRefusal:
    def test_a_network_without_an_equilibrium_refuses_through_solver_with_its_reason(
        self, tmp_path
    ):
        explicit = untrained(Explicit(channels=8, blocks=1))
        record, tables = run(explicit, Stage(PGD(), ThroughSolverView()))
        assert record.status == "refused"
        assert record.reason == "explicit shows no equilibrium, so it has no states to attack"
        assert (record.n, record.clean, record.robust, tables) == (0, None, None, {})
        assert record.deployment["solver"] is None
        store = ResultStore(tmp_path)
        store.append(record, tables)
        assert store.finished(record.trial, record.checkpoint)


@dataclass(frozen=True)
class Planted(Wrapper):
    """A defense around the trained target whose answer a test spoils."""

    card: ClassVar[Card] = Card("Planted", "by hand")


@dataclass(frozen=True)
class Stateful(Planted):
    """More confident with every new image, as an adapting defense may be."""

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        seen = getattr(target.classifier, "seen", frozenset())
        target.classifier.seen = seen.union(tuple(image.flatten().tolist()) for image in x)
        return replace(answer, logits=answer.logits * len(target.classifier.seen))


@dataclass(frozen=True)
class Remembering(Planted):
    """Gives an image near an earlier one the answer that the earlier one was given."""

    def infer(self, target, x, noise):
        return replace(self.base.infer(target, x, noise), logits=self.relaxed(target, x, noise))

    def relaxed(self, target, x, noise):
        logits = self.base.relaxed(target, x, noise)
        known = getattr(target.classifier, "known", ())
        target.classifier.known = (*known, *zip(x.detach(), logits.detach(), strict=True))
        rows = [
            next((then for seen, then in known if LINF.contains(seen[None], image[None])), now)
            for image, now in zip(x.detach(), logits, strict=True)
        ]
        return torch.stack(rows) + 0.0 * logits


@dataclass(frozen=True)
class Denying(Planted):
    """States that the network answers, and answers for the mirrored image."""

    inference: ClassVar = NETWORK

    def infer(self, target, x, noise):
        return self.base.infer(target, x.flip(-1), noise)


@dataclass(frozen=True)
class Coupled(Planted):
    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=answer.logits - answer.logits.mean(0))


@dataclass(frozen=True)
class Randomised(Planted):
    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=answer.logits + 0.1 * noise.normal((TASK.classes,)))


@dataclass(frozen=True)
class Detached(Planted):
    def relaxed(self, target, x, noise):
        return target.classifier(x).detach()


@dataclass(frozen=True)
class Flat(Planted):
    def relaxed(self, target, x, noise):
        return target.classifier(x).detach() + 0 * x.flatten(1).sum(1, keepdim=True)


@dataclass(frozen=True)
class Exploding(Planted):
    def relaxed(self, target, x, noise):
        logits = target.classifier(x)
        return logits + torch.sqrt(x - x.detach()).flatten(1).sum(1, keepdim=True)


@dataclass(frozen=True)
class Undefined(Planted):
    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        known = torch.cdist(x.flatten(1), DATA.test.images.flatten(1)).argmin(1)
        dark = (known == 2)[:, None]
        return replace(answer, logits=torch.where(dark, torch.nan, answer.logits))


@dataclass(frozen=True)
class Rewriting(Planted):
    def transform(self, target, x, noise):
        return (8 * x).round() / 8


@dataclass(frozen=True)
class Masked(Planted):
    """Shows attacks the classes in another order than the judge."""

    def relaxed(self, target, x, noise):
        return target.classifier(x).roll(1, 1)


class PlainScale(Cell):
    """The same cell, through a kernel that is neither a parameter nor a buffer."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.channels_last = inner, inner.channels_last
        self.kernel = torch.eye(inner.outer.out_channels)[:, :, None, None]

    def forward(self, z, u):
        return self.inner(conv2d(z, self.kernel), u)


class SingleScale(PlainScale):
    def forward(self, z, u):
        if z.dtype != torch.float32:
            raise RuntimeError("expected Float")
        return super().forward(z, u)


PLANTED = {
    Stateful: "stateful",
    Coupled: "row-coupled",
    Randomised: "randomised",
    Detached: "missing-gradient",
    Flat: "zero-gradient",
    Exploding: "non-finite",
    Undefined: "non-finite",
    Rewriting: "input-rewritten",
    Masked: "view-mismatch",
}


def flags(record):
    return [flag["name"] for flag in record.flags]


class TestFlags:
    def test_an_honest_model_raises_none(self, outcome):
        assert flags(outcome[0]) == []

    @pytest.mark.parametrize(("kind", "flag"), PLANTED.items(), ids=PLANTED.values())
    def test_a_planted_defect_raises_its_flag_and_no_other(self, target, kind, flag):
        # As good as no radius: nothing breaks, so only the defect is seen.
        bad = DefendedModel(kind(base=target.defense), copy.deepcopy(target.classifier), {})
        record, _ = run(bad, threat=Linf(Fraction(1, 10**6)))
        assert flags(record) == [flag]

    def test_a_memory_of_earlier_questions_saves_nothing_and_is_flagged(self, target):
        """The clean images are asked first; a judge that kept their answers would give them."""
        plain, bad = (
            DefendedModel(kind(base=target.defense), target.classifier, {})
            for kind in (Planted, Remembering)
        )
        honest, _ = run(plain, Stage(PGD(steps=6)))
        record, _ = run(bad, Stage(PGD(steps=6)), load=copy.deepcopy)
        assert "stateful" in flags(record)
        assert record.robust == honest.robust < record.clean

    def test_a_memory_that_cannot_be_copied_is_told(self, target):
        def locked(bad):
            again = copy.deepcopy(bad)
            again.classifier.lock = threading.Lock()
            return again

        bad = DefendedModel(Remembering(target.defense), target.classifier, {})
        with pytest.raises(ContractViolation, match=r"vanilla .* cannot be copied .*lock"):
            run(bad, load=locked)

    def test_a_gradient_attack_on_a_model_without_one_is_left_out_and_the_search_is_run(
        self, target
    ):
        """A third party's callable gives answers alone; its row is an upper bound, not a crash."""
        bad = DefendedModel(Detached(base=target.defense), target.classifier, {})
        record, _ = run(bad, Stage(PGD(steps=5)))
        assert (record.status, record.robust) == ("done", record.clean)
        assert flags(record) == ["missing-gradient"]
        searched, _ = run(bad, Stage(PGD(steps=5)), Stage(Square(queries=300)))
        assert searched.robust < record.robust

    def test_draws_that_are_not_keyed_by_image_are_nondeterministic(self, target):
        class Unkeyed(Planted):
            def infer(self, target, x, noise):
                answer = self.base.infer(target, x, noise)
                chance = torch.randn(answer.logits.shape, generator=generator)
                return replace(answer, logits=answer.logits + 0.1 * chance)

        generator = torch.Generator().manual_seed(0)
        record, _ = run(DefendedModel(Unkeyed(base=target.defense), target.classifier, {}))
        assert flags(record)[0] == "nondeterministic"

    def test_a_model_that_misses_its_tolerance_is_unconverged(self, target):
        hasty = target.classifier.replaced(solver=Picard(tol=1e-6, max_steps=3))
        record, _ = run(replace(target, classifier=hasty))
        assert "unconverged" in flags(record)
        assert record.deployment["converged_clean"] == 0

    def test_a_declared_depth_has_no_tolerance_to_miss(self, target):
        deep = target.classifier.replaced(solver=FixedDepth(max_steps=3))
        record, _ = run(replace(target, classifier=deep))
        assert "unconverged" not in flags(record)
        assert record.deployment["tolerance"] is None
        assert record.deployment["budget"] == 3

    def test_successes_on_unconverged_rows_are_pointed_out(self, target):
        hasty = target.classifier.replaced(solver=Picard(tol=1e-6, max_steps=3))
        record, _ = run(
            replace(target, classifier=hasty), Stage(PGD(steps=5)), threat=Linf(Fraction(1, 2))
        )
        assert "success-mostly-unconverged" in flags(record)

    def test_a_non_finite_answer_counts_as_broken(self, target):
        bad = DefendedModel(Undefined(base=target.defense), target.classifier, {})
        _, tables = run(bad, threat=Linf(Fraction(1, 10**6)))
        assert tables["samples"]["adv_pred"].to_pylist()[2] == -1
        assert not tables["samples"]["robust"].to_pylist()[2]


class TestWhatCannotBeChecked:
    def test_running_out_of_memory_fails_the_trial(self, target):
        """It was read as "no gradient": the attack was cancelled, the record said robust."""

        class Starved(Planted):
            def relaxed(self, target, x, noise):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        starved = DefendedModel(Starved(base=target.defense), target.classifier, {})
        with pytest.raises(torch.OutOfMemoryError):
            run(starved, Stage(PGD(steps=2)))

    def test_a_cell_that_holds_a_plain_tensor_is_judged_in_float64_as_well(self, target):
        own = target.classifier
        bare = replace(target, classifier=own.replaced(cell=PlainScale(own.cell)))
        record, _ = run(bare)
        assert "unchecked" not in flags(record)
        assert record.clean == run(target)[0].clean

    def test_a_cell_that_knows_no_float64_is_judged_and_the_check_is_told(self, target):
        own = target.classifier
        single = replace(target, classifier=own.replaced(cell=SingleScale(own.cell)))
        record, tables = run(single)
        assert record.clean == run(target)[0].clean
        (detail,) = [flag["detail"] for flag in record.flags if flag["name"] == "unchecked"]
        assert "expected Float" in detail
        assert not len(tables["audit"])


class TestPrecision:
    def test_exactly_the_labels_that_float64_contradicts_are_listed(self, target):
        x = DATA.test.images
        exact = target.classifier.replaced(solver=Picard(tol=1e-7, max_steps=300))
        labels = exact.predict(x).labels
        assert not flips(target, x, labels).any()
        labels[[2, 7]] = (labels[[2, 7]] + 1) % TASK.classes
        assert flips(target, x, labels).nonzero()[:, 0].tolist() == [2, 7]

    def test_they_stand_in_the_audit_and_change_no_verdict(self, target):
        """One step from zero is no equilibrium: float64 at 1e-8 is another function."""
        hasty = replace(
            target, classifier=target.classifier.replaced(solver=FixedDepth(max_steps=1))
        )
        record, tables = run(hasty, threat=Linf(Fraction(1, 10**6)))
        x = torch.tensor(tables["images"]["image"].to_pylist()).reshape(N, *TASK.shape)
        deployed, exact = hasty.classifier.predict(x).labels, target.classifier.predict(x).labels
        audit = tables["audit"].to_pydict()
        assert audit["index"] == (deployed != exact).nonzero()[:, 0].tolist()
        assert set(audit["check"]) <= {"float64"}
        assert record.clean == (deployed == DATA.test.labels).double().mean().item()

    def test_a_defense_with_its_own_inference_is_not_asked(self, target):
        own = DefendedModel(Coupled(base=target.defense), target.classifier, {})
        wrong = (target.classifier.predict(DATA.test.images).labels + 1) % TASK.classes
        assert not flips(own, DATA.test.images, wrong).any()


class TestJudge:
    def test_right_in_one_composition_alone_is_not_right(self, target):
        class Whole(Planted):
            """Right in full batches, wrong in any other."""

            def infer(self, target, x, noise):
                answer = self.base.infer(target, x, noise)
                logits = torch.zeros(len(x), TASK.classes)
                logits[:, 0 if len(x) == N else 1] = 1.0
                return replace(answer, logits=logits)

        judge = Judge(DefendedModel(Whole(base=target.defense), target.classifier, {}), N)
        labels = torch.zeros(N, dtype=torch.int64)
        verdict = judge(Samples(DATA.test.images, labels, ROWS))
        assert (verdict.labels == 0).all()
        assert not verdict.right.any()
        assert (verdict.settled(labels) == -1).all()
        assert (verdict.settled(labels + 2) == 0).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        "logits",
        [
            [1.0, 1.0, 0.0, 0.0],
            [0.0, 0.25, 0.25, 0.25],
            [-INF, 2.0, -INF, 2.0],
            [NAN, 1.0, 0.0, 0.0],
        ],
        ids=["tied", "quantized", "ruled out", "NaN"],
    )
    def test_harm_is_negative_exactly_where_the_answer_is_right(self, target, logits, dtype):
        """Ties were lost to the attack and right for the judge."""

        class Constant(Planted):
            def infer(self, target, x, noise):
                answer = self.base.infer(target, x, noise)
                return replace(answer, logits=torch.tensor(logits, dtype=dtype).expand(len(x), 4))

        judge = Judge(DefendedModel(Constant(base=target.defense), target.classifier, {}), N)
        x, y = DATA.test.images, ROWS % 4
        samples = Samples(x, y, ROWS)
        right = judge(samples).right
        assert torch.equal(judge.harm(samples) < 0, right)
        assert right.sum() == (0 if logits[0] != logits[0] else N // 4)

    def test_an_untrained_network_is_right_about_as_often_as_its_labels(self):
        model = tiny_deq()
        judge = Judge(DefendedModel(Defense.from_text("vanilla"), model, {}), 4)
        labels = model.predict(DATA.test.images).labels
        labels[0] = (labels[0] + 1) % TASK.classes
        assert judge(Samples(DATA.test.images, labels, ROWS)).right.tolist() == [False] + [True] * (
            N - 1
        )


def test_a_defense_that_denies_what_it_does_at_inference_is_flagged(target):
    """It is attacked as its base, so its word is held against its answers."""
    denying = replace(target, defense=Denying(target.defense))
    record, _ = run(denying)
    assert "view-mismatch" in {flag["name"] for flag in record.flags}
    assert find_flag("view-mismatch").blocking
