"""What the timing tables are read off: counted work, an independent umpire, paired ratios."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

pytest.importorskip("torchdeq")
pytest.importorskip("torchattacks")
pytest.importorskip("pyautoattack")

from benchmarks.timing import (
    clock,
    contests,
    limits,
    opponents,
    slow_cell,
    solvers,
    trainer,
    training,
    tune,
    verifier,
)
from benchmarks.timing.attacks import meet
from benchmarks.timing.library_training import LibraryTraining
from benchmarks.timing.residual import Residual, ResidualCell
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.autoattack import AutoAttack
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import Split
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import UnknownName
from robustdeq.models.cells import Cell
from robustdeq.models.deq import DEQClassifier
from robustdeq.solvers.picard import Picard
from robustdeq.surface import Cost
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.toys import LinearToy, tiny_deq, toy_data
from robustdeq.threats.linf import Linf

TIGHT = opponents.Settings(tol=1e-6, batch_size=4, max_steps=100)


def toy_subject(solver=None):
    model = tiny_deq(solver=solver or Picard(tol=1e-6, max_steps=100))
    target = DefendedModel(Residual(), model, {})
    return Subject("toy", target, toy_data(), Linf(Fraction(1, 4)), TIGHT)


def test_the_opponent_computes_our_network_and_its_true_gradient():
    case = toy_subject()
    x = case.data.test.images[:5].requires_grad_()
    theirs = opponents.TorchDEQ(case.model, TIGHT, Cost())(x)
    ours = case.model.replaced(adjoint=ThroughSolver())(x)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
    gradients = [torch.autograd.grad(logits[:, 0].sum(), x)[0] for logits in (theirs, ours)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


def test_the_opponents_evaluations_are_counted_per_image():
    case, cost = toy_subject(), Cost()
    fixed = opponents.Settings(tol=0.0, max_steps=7)
    net = opponents.TorchDEQ(case.model, fixed, cost)
    x = case.data.test.images[:5]
    with torch.no_grad():
        net(x)
    assert cost.counts == {"forward": 7 * 5}
    logits = net(x.requires_grad_())
    torch.autograd.grad(logits.sum(), x)
    # Seven steps, one evaluation to attach the gradient and one to differentiate; seven products
    # of the adjoint and one back to the input.
    assert cost.counts == {"forward": (7 + 9) * 5, "vjp": 8 * 5}


class RotationCell(Cell):
    """f(z; u) = A z + u."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, z, u):
        return z @ self.matrix.T + u


def test_the_umpire_finds_the_fixed_point_of_a_linear_cell():
    toy, nothing = LinearToy(), torch.nn.Identity()
    u = toy.injections(4)
    cell = RotationCell(toy.matrix)
    network = DEQClassifier(nothing, cell, nothing, (toy.dim,), Picard(), Unrolled())
    answer = verifier.verify(network, u, tol=1e-10)
    assert answer.converged.all()
    assert torch.equal(answer.labels, toy.answer(u).argmax(1))
    assert not verifier.verify(network, u, tol=1e-10, max_steps=3).converged.any()


def test_the_umpire_agrees_with_the_deployed_predictor():
    case = toy_subject()
    x, y = case.data.test.images, case.data.test.labels
    survived, unconverged = verifier.survival(case.model, x[None], y)
    assert survived.tolist() == (case.model.predict(x).labels == y).tolist()
    assert unconverged == 0


def test_an_image_survives_only_if_it_survives_every_candidate():
    case = toy_subject()
    x = case.data.test.images[:6]
    y = case.model.predict(x).labels
    other = x[y != y[0]][:1].expand(6, -1, -1, -1)
    survived, _ = verifier.survival(case.model, torch.stack([x, other]), y)
    assert survived.tolist() == (y == case.model.predict(other).labels).tolist()


def test_strength_names_the_images_that_one_side_alone_breaks():
    ours = np.array([[True, True, False, True], [True, False, True, True]])
    theirs = np.array([[True, True, True, False], [True, True, True, True]])
    found = verifier.strength(ours, theirs, margin=0.01)
    assert (found.ours, found.theirs) == (0.5, 0.75)
    assert (found.only_ours, found.only_theirs) == ((1, 2), (3,))
    assert (found.agreement, found.floor) == (0.5, 0.75)
    assert not found.shown


def test_contestants_take_turns():
    order = []
    runs = {name: (lambda turn, name=name: order.append((turn, name))) for name in "ab"}
    before = torch.get_num_threads()
    results = clock.take_turns(runs, 2, threads=1)
    assert order == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert [len(results[name]) for name in "ab"] == [2, 2]
    assert torch.get_num_threads() == before


def test_ratios_are_taken_turn_by_turn():
    spread = clock.ratios([6.0, 8.0, 30.0], [2.0, 4.0, 5.0])
    assert spread == clock.Spread(median=3.0, low=2.0, high=6.0)
    assert str(spread) == "3 (2 to 6)"


def test_a_contest_gives_both_sides_the_same_images_and_judges_them_alike():
    case = toy_subject()
    split = case.data.test.take(6)
    contest = contests.pgd(case, split, steps=2, fast_steps=(8,))
    scores = meet(case, contest, split, 2, margin=1.0)
    assert [score.row for score in scores] == list(contest.ours)
    for score in scores:
        theirs, ours = score.evaluations
        assert score.fewer.low <= theirs / ours <= score.fewer.high
        assert score.strength.shown
        assert score.unconverged == 0
        assert score.wall is None


def test_the_unmodified_library_runs_on_the_opponents_network():
    case = toy_subject()
    images = case.data.test.images[:2]
    split = Split(images, case.model.predict(images).labels)
    found = contests.library_run(case, split, AutoAttack(attacks=("apgd-ce",)))(0)
    assert case.threat.contains(split.images, found.candidates[0]).all()
    assert found.evaluations > 2 * 100  # an evaluation and a product, at the least, each step


def test_a_second_attack_only_sees_what_the_first_left():
    case = toy_subject()
    split = case.data.test.take(8)
    alone = contests.own_run(case, split, (PGD(steps=8),), Defended())(0)
    twice = contests.own_run(case, split, (PGD(steps=8), PGD(steps=8)), Defended())(0)
    broken = ~torch.tensor(verifier.survival(case.model, alone.candidates[:1], split.labels)[0])
    assert broken.any()
    assert torch.equal(twice.candidates[0, broken], alone.candidates[0, broken])
    assert alone.evaluations < twice.evaluations


def test_the_fastest_of_the_strong_settings_is_chosen():
    tried = [
        tune.Tried(TIGHT, cpu=3.0, evaluations=9.0, robust=0.70),
        tune.Tried(replace(TIGHT, tol=1e-3), cpu=2.0, evaluations=6.0, robust=0.71),
        tune.Tried(replace(TIGHT, tol=1e-1), cpu=1.0, evaluations=2.0, robust=0.80),
    ]
    assert tune.best(tried).settings.tol == 1e-3


def test_tuning_attacks_under_every_setting():
    case = toy_subject()
    choices = [replace(TIGHT, tol=tol) for tol in (1e-1, 1e-5)]
    loose, tight = tune.tune(case, case.data.held_out.take(4), choices, steps=2)
    assert loose.evaluations < tight.evaluations


def test_the_spectral_radius_of_a_linear_cell_is_its_own():
    toy = LinearToy(radius=0.7)
    found = slow_cell.spectral_radius(toy.problem(toy.injections(3)))
    torch.testing.assert_close(found, torch.full((3,), 0.7), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def random_problem():
    return solvers.scaled_problem(channels=8, side=4, images=4)


def test_the_random_problem_has_the_spectral_radius_it_claims(random_problem):
    radius = slow_cell.spectral_radius(random_problem, products=60)
    assert float(radius.median()) == pytest.approx(solvers.RADIUS, abs=0.02)


def test_every_row_that_a_cell_is_evaluated_for_is_booked():
    toy = LinearToy()
    u = toy.injections(4)
    account = solvers.Account(toy.problem(u))
    torch.testing.assert_close(account.problem(u), toy.problem(u)(u))
    account.problem.select(torch.tensor([0, 2]))(u[:2])
    assert account.rows == 6


def test_every_solver_of_the_table_converges(random_problem):
    rows = solvers.measure(random_problem, repeats=1)
    assert [row[2] for row in rows] == ["100.0"] * len(solvers.contestants())


def test_a_convolution_costs_two_operations_a_weight_and_pixel():
    cell = ResidualCell(8)
    assert limits.flops(cell, (4, 4)) == 2 * (2 * 3 * 3 * 8 * 8) * 16


def test_the_sustained_rate_is_counted_work_over_time():
    case = toy_subject()
    found = limits.sustained_rates(case, case.data.test.take(2), repeats=1)
    assert set(found) == {"in PGD-20, exact", "in APGD-50, fast", "in APGD-80, fast"}
    assert all(0 < speed.low <= speed.high for speed in found.values())


def toy_entrant(defense):
    return Entrant(defense, Recipe(Linf(Fraction(1, 8)), epochs=2, batch_size=16))


def test_both_sides_training_moves_every_weight():
    base, data = Vanilla(channels=8), toy_data(train=24, held_out=4)
    ours = toy_entrant(AdversarialTraining(base, PGD(steps=2)))
    theirs = toy_entrant(LibraryTraining(base, opponents.Settings(tol=1e-2), steps=2))
    for entrant in (ours, theirs):
        first, last = trainer.looks(entrant, data)
        assert 0 < first.cpu < last.cpu
        for name, weight in last.weights.items():
            assert not torch.equal(first.weights[name], weight), name


def test_a_race_is_to_the_held_out_accuracy_that_the_opponent_ends_with():
    base, data = Vanilla(channels=8), toy_data(train=16, held_out=4, test=4)
    ours = toy_entrant(AdversarialTraining(base, PGD(steps=1)))
    theirs = toy_entrant(LibraryTraining(base, opponents.Settings(tol=1e-2), steps=1))
    run = training.race(ours, theirs, data, data.test)
    assert run.theirs.robust >= run.target
    assert run.ours is None or run.ours.robust >= run.target
    assert len(run.their_survival) == len(run.our_survival) == 4
    assert len(training.race_row(0, run)) == len(training.RACE)


def test_a_speed_up_may_be_claimed_only_by_a_network_as_robust():
    look = trainer.Look(1.0, 0.5, {})
    strong, weak = np.ones(500, dtype=bool), np.arange(500) < 400
    assert "a speed-up may" in training.verdict([training.Race(0.5, look, look, weak, strong)])
    assert "no speed-up may" in training.verdict([training.Race(0.5, look, look, strong, weak)])
    assert "no speed-up may" in training.verdict([training.Race(0.5, look, None, weak, strong)])


def test_an_unknown_cell_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'slow'"):
        find_subject("slo")


def test_the_slow_cell_is_as_slow_as_it_is_said_to_be():
    case = find_subject("slow")
    radius = slow_cell.spectral_radius(case.model.problem(case.data.test.images[:16]), products=60)
    assert 0.8 < float(radius.median()) < 0.92
    assert case.model.predict(case.data.test.images).converged.double().mean() >= 0.97


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_has_a_name_of_its_own(name):
    assert find_subject(name).name == name
