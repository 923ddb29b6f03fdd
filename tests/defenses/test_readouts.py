"""Defenses that read other states than the answer's: each against its formula written out."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from robustdeq.defenses.base import Batch, DefendedModel
from robustdeq.defenses.early_state import EarlyState
from robustdeq.defenses.entropy_reduction import EntropyReduction
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.state_ensemble import StateEnsemble
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.errors import SpecError
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.solvers.picard import Picard
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.through_defence import soft_sign
from robustdeq.testing.toys import TASK, tiny_deq, toy_images
from robustdeq.threats.linf import Linf

SPLIT = toy_images(6, TASK)
X, ROWS = SPLIT.images.double(), torch.arange(6)
NOISE = NoiseStream(0).at(ROWS)
BASE = Vanilla()


def target(defense, tol=1e-3, **calibration):
    network = tiny_deq(solver=Picard(tol=tol, max_steps=60)).double()
    return DefendedModel(defense, network, calibration)


def path(model, x, count):
    """z_1 ... z_count of plain Picard steps, in x's graph."""
    problem = model.problem(x)
    z, found = problem.z0, []
    for _ in range(count):
        z = problem(z)
        found.append(z)
    return found


def gradient(logits, x):
    (found,) = torch.autograd.grad(logits.logsumexp(1).sum(), x)
    return found


def entropy(logits):
    return torch.special.entr(logits.softmax(1)).sum(1)


class TestEarlyState:
    def test_it_reads_the_head_of_the_state_and_has_its_exact_gradient(self):
        defense = EarlyState(BASE, state=3)
        subject = target(defense, tol=1e-12, state=3)
        leaf = X.clone().requires_grad_()
        wanted = subject.classifier.readout(path(subject.classifier, leaf, 3)[-1])
        assert torch.allclose(defense.infer(subject, X, NOISE).logits, wanted, atol=1e-12)
        other = X.clone().requires_grad_()
        found = gradient(defense.relaxed(subject, other, NOISE), other)
        assert torch.allclose(found, gradient(wanted, leaf), atol=1e-10)

    def test_the_state_with_the_highest_robust_accuracy_is_chosen(self):
        defense = EarlyState(BASE, candidates=(1, 2, 5))
        held_out = Batch(X, SPLIT.labels, ROWS, Linf(Fraction(1, 20)))
        found = defense.calibrate(target(defense), held_out, NOISE)
        assert found["robust"].keys() == {"1", "2", "5"}
        assert found["robust"][str(found["state"])] == max(found["robust"].values())

    def test_a_given_state_is_not_chosen_anew(self):
        defense = EarlyState(BASE, state=2)
        held_out = Batch(X, SPLIT.labels, ROWS, Linf(Fraction(1, 20)))
        assert defense.calibrate(target(defense), held_out, NOISE) == {"state": 2}

    def test_a_state_beyond_the_horizon_is_refused_before_training(self):
        with pytest.raises(SpecError, match="state 61 lies beyond the 60 steps"):
            EarlyState(BASE, state=61).build(TASK)

    @pytest.mark.parametrize("fields", [{"state": 0}, {"candidates": ()}, {"candidates": (2, 0)}])
    def test_what_is_no_step_number_is_refused(self, fields):
        with pytest.raises(SpecError, match="expected step numbers from 1 on"):
            EarlyState(BASE, **fields)


class TestStateEnsemble:
    def test_it_reads_the_mean_feature_state(self):
        defense = StateEnsemble(BASE, states=3)
        subject = target(defense, tol=1e-12)
        leaf = X.clone().requires_grad_()
        steps = path(subject.classifier, leaf, 60)
        logits = subject.classifier.readout((sum(steps[:3]) + steps[-1]) / 4)
        assert torch.allclose(defense.infer(subject, X, NOISE).logits, logits, atol=1e-10)
        other = X.clone().requires_grad_()
        relaxed = defense.relaxed(subject, other, NOISE)
        assert torch.allclose(gradient(relaxed, other), gradient(logits, leaf), atol=1e-8)

    def test_a_row_that_stopped_repeats_its_answer_in_both_forms(self):
        defense = StateEnsemble(BASE, states=30)
        subject = target(defense, tol=1e-2)
        assert int(defense.infer(subject, X, NOISE).nfe.max()) < 30
        relaxed = defense.relaxed(subject, X.clone().requires_grad_(), NOISE)
        assert torch.allclose(defense.infer(subject, X, NOISE).logits, relaxed, atol=1e-12)

    def test_no_state_at_all_is_refused(self):
        with pytest.raises(SpecError, match="0 states"):
            StateEnsemble(BASE, states=0)


@pytest.mark.parametrize(
    ("defense", "calibration", "evaluations"),
    [
        (EarlyState(BASE, state=3), {"state": 3}, 4),  # the last one measures the residual
        (EntropyReduction(BASE, updates=5, block=2, horizon=6), {}, 6 + 5 * 2),
    ],
)
def test_an_attack_pays_for_every_evaluation_of_the_cell(defense, calibration, evaluations):
    subject = target(defense, **calibration)
    surface = Defended().bind(subject, NoiseStream(0)).surface
    images, y = SPLIT.images.double(), SPLIT.labels
    surface.value(Samples(images, y, ROWS), CrossEntropy())
    assert surface.cost.counts["forward"] == evaluations * len(images)


class TestEntropyReduction:
    def test_without_updates_it_is_the_network_stopped_early(self):
        defense = EntropyReduction(BASE, updates=0)
        subject = target(defense)
        wanted = subject.classifier.readout(path(subject.classifier, X, 8)[-1])
        assert torch.allclose(defense.infer(subject, X, NOISE).logits, wanted, atol=1e-12)

    def test_lowering_lowers_raising_raises_and_random_signs_lie_between(self):
        mean = {}
        for how in ("lower", "raise", "random"):
            defense = EntropyReduction(BASE, entropy=how)
            mean[how] = entropy(defense.infer(target(defense), X, NOISE).logits).mean()
        assert mean["lower"] < mean["random"] < mean["raise"]

    def test_one_update_is_the_signed_step_on_the_entropy_one_evaluation_later(self):
        defense = EntropyReduction(BASE, updates=1, horizon=4)
        subject = target(defense)
        model = subject.classifier
        z = path(model, X, 2)[-1]
        leaf = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(entropy(model.readout(model.problem(leaf)(z))).sum(), leaf)
        moved = (X - 3 / 64 * slope.sign()).clamp(0, 1)
        problem = model.problem(moved)
        wanted = model.readout(problem(problem(z)))
        assert torch.allclose(defense.infer(subject, X, NOISE).logits, wanted, atol=1e-12)

    def test_the_input_stays_near_the_one_received_and_in_the_box(self):
        defense = EntropyReduction(BASE, updates=30)
        subject = target(defense)
        with torch.no_grad():
            moved, _ = defense._trajectory(subject.classifier, X, NOISE, 0, torch.sign)
        assert (moved - X).abs().max() <= 3 / 16 + 1e-12
        assert moved.min() >= 0
        assert moved.max() <= 1

    def test_unrolling_changes_the_gradient_and_not_the_value(self):
        defense = EntropyReduction(BASE, updates=2)
        subject = target(defense)
        leaf = X.clone().requires_grad_()
        straight = defense.relaxed(subject, leaf, NOISE)
        through = defense.unrolled(subject, leaf, NOISE, 3, soft_sign(1.0))
        assert torch.allclose(straight, through, atol=1e-12)
        assert torch.allclose(straight, defense.infer(subject, X, NOISE).logits, atol=1e-12)
        first, second = (gradient(logits, leaf) for logits in (straight, through))
        assert not torch.allclose(first, second)

    def test_the_evaluations_it_reports_are_those_it_makes(self):
        defense = EntropyReduction(BASE)
        subject, calls = target(defense), []
        model = subject.classifier
        assert isinstance(model, DEQClassifier)
        model.cell.register_forward_hook(lambda *call: calls.append(1))
        assert len(calls) == 0
        nfe = defense.infer(subject, X, NOISE).nfe
        assert set(nfe.tolist()) == {len(calls)} == {39}

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"updates": -1}, "updates -1"),
            ({"horizon": 7}, "horizon 7"),
            ({"radius": Fraction(0)}, "radius 0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, fields, named):
        with pytest.raises(SpecError, match=named):
            EntropyReduction(BASE, **fields)


@pytest.mark.parametrize("kind", [EarlyState, StateEnsemble, EntropyReduction])
class TestAll:
    def test_a_network_without_states_is_refused(self, kind):
        with pytest.raises(SpecError, match="needs the states of an equilibrium network"):
            kind(Explicit()).build(TASK)

    def test_two_read_outs_on_top_of_one_another_are_refused(self, kind):
        inner = EarlyState if kind is not EarlyState else StateEnsemble
        with pytest.raises(SpecError, match="wrap only one of the two"):
            kind(inner(BASE))

    def test_the_weights_are_the_base_s(self, kind):
        first, second = kind(BASE).build(TASK), replace(BASE).build(TASK)
        assert first.state_dict().keys() == second.state_dict().keys()
