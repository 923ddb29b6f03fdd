"""What an attacker may look through: the right values, the right gradient, the target's verdict."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import pytest
import torch

from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.margin import Margin
from robustdeq.objectives.transient_margin import TransientMargin
from robustdeq.samples import Samples
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.surrogates.after_transfer import AfterTransfer
from robustdeq.surrogates.after_transient import AfterTransient
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.differences import Differences
from robustdeq.surrogates.expectation import Expectation
from robustdeq.surrogates.intermediate import Intermediate
from robustdeq.surrogates.simultaneous import Simultaneous
from robustdeq.surrogates.solver_path import SolverPath
from robustdeq.surrogates.state_average import StateAverage
from robustdeq.surrogates.straight_through import StraightThrough
from robustdeq.surrogates.through_defence import ThroughDefence, soft_sign
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.surrogates.transfer import Transfer
from robustdeq.surrogates.truncated import Truncated
from robustdeq.surrogates.undefended import Undefended
from robustdeq.testing.toys import TASK, tiny_deq, toy_images
from robustdeq.threats.linf import Linf

SPLIT = toy_images(6, TASK)
X, Y, ROWS = SPLIT.images, SPLIT.labels, torch.arange(6)
SAMPLES = Samples(X, Y, ROWS)
ONE = Samples(X[2:3], Y[2:3], ROWS[2:3])
NOISE = NoiseStream(3)
LOGITS = frozenset({"logits"})


@dataclass(frozen=True)
class Jitter(Wrapper):
    """Adds noise to its input."""

    stage: ClassVar = "inference"
    card: ClassVar = Card("Jitter", "none")
    size: float = 0.1

    def transform(self, target, x, noise):
        return x + self.size * noise.normal(tuple(x.shape[1:]))


@dataclass(frozen=True)
class Idle(Wrapper):
    """Overrides the hook and changes nothing."""

    stage: ClassVar = "inference"
    card: ClassVar = Card("Idle", "none")

    def transform(self, target, x, noise):
        return x


@dataclass(frozen=True)
class Sharpen(Wrapper):
    """One step of the input along the sign of a gradient, hidden from everyone who looks."""

    stage: ClassVar = "inference"
    card: ClassVar = Card("Sharpen", "none")

    def transform(self, target, x, noise):
        with torch.enable_grad():
            return self._step(target, x.detach(), torch.sign).detach()

    def unrolled(self, target, x, noise, last, sign):
        return target.classifier(self._step(target, x, sign))

    def _step(self, target, x, sign):
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        top = target.classifier(leaf).amax(1).sum()
        (g,) = torch.autograd.grad(top, leaf, create_graph=True)
        return x + 0.05 * sign(g)


def defended(defense=None, solver=None):
    # Unrolled, because a second derivative has to pass through the network's own adjoint.
    model = tiny_deq(solver=solver or Picard(tol=1e-6, max_steps=200), adjoint=Unrolled(20))
    return DefendedModel(defense or Vanilla(), model, {})


def explicit():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Explicit().build(TASK).eval().requires_grad_(False)
    return DefendedModel(Explicit(), model, {})


def read(surrogate, target, **more):
    surface = surrogate.bind(target, NOISE, **more).surface
    return surface.value_and_grad(Samples(X, Y, ROWS), Margin())


@pytest.mark.parametrize("adjoint", [JacobianFree(), Unrolled(3)], ids=["jacobian-free", "phantom"])
def test_a_truncated_gradient_belongs_to_the_deployed_answer(adjoint):
    target = defended()
    reading = read(Truncated(adjoint), target)
    torch.testing.assert_close(reading.logits, target.predict(X, ROWS, NOISE).logits)
    assert (read(Defended(), target).gradient - reading.gradient).abs().max() > 1e-4


@pytest.mark.parametrize("directions", [64, 48], ids=["pixel by pixel", "random directions"])
def test_differences_point_where_the_gradient_does(directions):
    """With fewer directions than pixels the estimate is noisy, and right on average."""
    target = defended()
    surface = Differences(directions, Fraction(1, 1000)).bind(target, NOISE).surface
    found = sum(surface.value_and_grad(Samples(X, Y, ROWS), Margin()).gradient for _ in range(20))
    cosine = torch.cosine_similarity(found.flatten(1), read(Defended(), target).gradient.flatten(1))
    assert (cosine > (0.999 if directions == 64 else 0.9)).all()


def test_the_expectation_over_nothing_random_is_the_view_itself():
    target = defended()
    one, many = read(Defended(), target), read(Expectation(draws=3), target)
    torch.testing.assert_close(many.gradient, one.gradient)
    torch.testing.assert_close(many.logits, one.logits)


def test_the_expectation_draws_afresh_at_every_visit_and_keys_the_draws_by_row():
    target = defended(Jitter(Vanilla()))
    surface = Expectation(draws=4).bind(target, NOISE).surface
    first, second = (surface.value_and_grad(Samples(X, Y, ROWS), Margin()) for _ in range(2))
    assert (first.value - second.value).abs().min() > 0
    alone = Expectation(draws=4).bind(target, NOISE).surface
    part = alone.value_and_grad(Samples(X[2:4], Y[2:4], ROWS[2:4]), Margin())
    torch.testing.assert_close(part.gradient, first.gradient[2:4], rtol=1e-3, atol=1e-5)
    assert surface.cost.counts["calls"] == 2 * 4 * len(X)


def test_one_lucky_draw_confirms_nothing():
    """Of 64 rows that a coin decides, eight draws in agreement leave a handful."""
    target = defended(Jitter(Vanilla(), size=30.0))
    samples = toy_images(64, TASK).samples()
    single = Defended().bind(target, NOISE).confirm(samples)
    all_eight = Expectation(draws=8).bind(target, NOISE).confirm(samples)
    assert all_eight.sum() < single.sum()


def test_straight_through_is_taken_at_the_rewritten_input():
    target = defended(Sharpen(Vanilla()))
    reading = read(StraightThrough(), target)
    moved = target.defense.transform(target, X, NOISE.at(ROWS))
    torch.testing.assert_close(reading.logits, target.classifier.predict(moved).logits)
    assert (moved - X).abs().max() > 0.04


def test_an_input_that_is_left_alone_has_its_own_gradient_straight_through():
    """A transform may hand back the very tensor it got, whose gradient must not count twice."""
    target = defended(Idle(Vanilla()))
    leaf = X.clone().requires_grad_()
    logits = target.defense.relaxed(target, leaf, NOISE.at(ROWS))
    (found,) = torch.autograd.grad(logits.square().sum(), leaf)
    (wanted,) = torch.autograd.grad(target.classifier(leaf).square().sum(), leaf)
    torch.testing.assert_close(found, wanted)


def test_through_defence_differs_from_straight_through_only_in_its_gradient():
    target = defended(Sharpen(Vanilla()))
    around = read(StraightThrough(), target)
    narrow, wide = (read(ThroughDefence(1, Fraction(t)), target) for t in ("1/100", "1"))
    torch.testing.assert_close(narrow.logits, around.logits, rtol=1e-3, atol=1e-4)
    assert (narrow.gradient - around.gradient).abs().max() > 1e-5
    assert (narrow.gradient - wide.gradient).abs().max() > 1e-5


def test_a_soft_sign_is_a_sign_with_the_slope_of_a_tanh():
    g = torch.tensor([-2.0, 0.0, 0.3], requires_grad=True)
    value = soft_sign(0.5)(g)
    assert value.tolist() == [-1.0, 0.0, 1.0]
    (slope,) = torch.autograd.grad(value.sum(), g)
    (expected,) = torch.autograd.grad(torch.tanh(g / 0.5).sum(), g)
    torch.testing.assert_close(slope, expected)


def test_without_its_defense_the_network_is_climbed_and_the_whole_chain_confirms():
    target = defended(Jitter(Vanilla(), size=30.0))
    approach = Undefended().bind(target, NOISE)
    bare = defended()
    torch.testing.assert_close(
        approach.surface.view(X, ROWS, LOGITS).logits, bare.predict(X, ROWS, NOISE).logits
    )
    chain = Defended().bind(target, NOISE).confirm(SAMPLES)
    assert torch.equal(approach.confirm(SAMPLES), chain)


def test_a_search_after_transfer_begins_where_the_bare_network_is_furthest_wrong():
    target, threat = defended(Sharpen(Vanilla())), Linf(Fraction(1, 8))
    approach = AfterTransfer(steps=5, targets=1).bind(target, NOISE)
    start, surface = approach.start(SAMPLES, threat, NOISE, 0), approach.surface
    attack = APGD(steps=5, targets=1, objective=Margin())
    bare = Approach(Defended().bind(defended(), NOISE).surface)
    wanted = attack.perturb(bare, SAMPLES, threat, NOISE.child("transfer"))[0]
    assert torch.equal(start, wanted)
    spent = dict(surface.cost.counts)
    assert spent["vjp"] > 0
    # A row's start is found once, and is the same whatever other rows are asked about.
    assert torch.equal(approach.start(ONE, threat, NOISE, 0), start[2:3])
    assert dict(surface.cost.counts) == spent
    assert not torch.equal(approach.start(SAMPLES, threat, NOISE, 1), start)
    reading = surface.value_and_grad(Samples(start, Y, ROWS), CrossEntropy())
    straight = StraightThrough().bind(target, NOISE).surface
    wanted = straight.value_and_grad(Samples(start, Y, ROWS), CrossEntropy())
    torch.testing.assert_close(reading.gradient, wanted.gradient)


def test_a_search_after_a_transient_begins_where_a_solve_passes_nearest_to_another_answer():
    target, threat = defended(solver=Picard(max_steps=8)), Linf(Fraction(1, 8))
    approach = AfterTransient(steps=5).bind(target, NOISE)
    start, surface = approach.start(SAMPLES, threat, NOISE, 0), approach.surface
    spent = dict(surface.cost.counts)
    path = SolverPath(8).bind(target, NOISE).surface  # no longer than the deployed solver's
    attack = APGD(steps=5, objective=TransientMargin())
    found = attack.perturb(Approach(path), SAMPLES, threat, NOISE.child("transient", 0))
    assert torch.equal(start, found[0])
    assert spent == dict(path.cost.counts)
    # Each row's start is its own, and each draw's another.
    torch.testing.assert_close(approach.start(ONE, threat, NOISE, 0), start[2:3])
    assert not torch.equal(approach.start(SAMPLES, threat, NOISE, 1), start)
    reading = surface.value_and_grad(Samples(start, Y, ROWS), CrossEntropy())
    exact = ThroughSolverView().bind(target, NOISE).surface
    wanted = exact.value_and_grad(Samples(start, Y, ROWS), CrossEntropy())
    assert torch.equal(reading.gradient, wanted.gradient)


def test_attacks_that_begin_at_random_begin_where_the_view_says():
    target, threat = defended(Sharpen(Vanilla())), Linf(Fraction(1, 8))
    for attack in (PGD(steps=1), APGD(steps=1), JIIO(rounds=1)):
        approach, visited = AfterTransfer(steps=3).bind(target, NOISE), []
        surface = approach.surface
        climbed = surface.value_and_grad

        def noted(samples, *more, visited=visited, climbed=climbed):
            visited.append(samples.images)
            return climbed(samples, *more)

        surface.value_and_grad = noted
        attack.perturb(approach, SAMPLES, threat, NOISE)
        known = approach.start(SAMPLES, threat, NOISE, 0)
        assert torch.equal(visited[0], known), attack


def test_a_transfer_climbs_its_source_and_asks_its_target():
    target, source = defended(), explicit()
    approach = Transfer(0).bind(target, NOISE, (source,))
    torch.testing.assert_close(
        approach.surface.view(X, ROWS, LOGITS).logits, source.predict(X, ROWS, NOISE).logits
    )
    wrong = target.predict(X, ROWS, NOISE).labels != Y
    assert torch.equal(approach.confirm(SAMPLES), wrong)


def test_a_transfer_without_its_source_says_where_to_list_it():
    with pytest.raises(SpecError, match="source 1 of 0; list the networks"):
        Transfer(1).bind(defended(), NOISE)


def test_a_solver_that_stops_short_is_differentiated_through_its_steps():
    """Its answer is no fixed point, so an implicit gradient would be that of nothing."""
    target = defended(solver=FixedDepth(max_steps=2))
    reading = read(Defended(), target)
    torch.testing.assert_close(reading.gradient, read(ThroughSolverView(), target).gradient)
    assert torch.equal(reading.logits, target.predict(X, ROWS, NOISE).logits)


@pytest.mark.parametrize(
    ("target", "same_as"),
    [(defended(), ThroughSolverView()), (explicit(), Defended())],
    ids=["an equilibrium network", "a network without one"],
)
def test_the_defended_path_can_be_differentiated_through_the_solver(target, same_as):
    reading, other = (read(view, target) for view in (Defended("through-solver"), same_as))
    assert torch.equal(reading.gradient, other.gradient)
    assert torch.equal(reading.logits, other.logits)


def test_every_attack_stays_in_the_ball_on_every_view():
    target, threat = defended(Sharpen(Vanilla())), Linf(Fraction(1, 8))
    views = (
        Intermediate(2), StateAverage(3), Simultaneous(3), StraightThrough(), ThroughDefence(),
        Undefended(), AfterTransfer(steps=2), Expectation(draws=2), Differences(4),
        AfterTransient(steps=2),
        ThroughSolverView(state=2), Transfer(0),
    )  # fmt: skip
    for view in views:
        approach = view.bind(target, NOISE, (explicit(),))
        found = PGD(steps=2).perturb(approach, SAMPLES, threat, NOISE)
        assert all(threat.contains(X, candidate).all() for candidate in found), view


@pytest.mark.parametrize(
    ("surrogate", "target", "reason"),
    [
        (Intermediate(1), explicit(), "no states"),
        (StateAverage(), explicit(), "no states"),
        (Simultaneous(), explicit(), "no states"),
        (Truncated(), explicit(), "no states"),
        (ThroughSolverView(), explicit(), "no states"),
        (AfterTransient(), explicit(), "no states"),
        (Intermediate(90), defended(solver=Picard()), "past the 60 steps"),
        (StateAverage(61), defended(solver=Picard()), "choose 1 to 60"),
        (ThroughSolverView(state=61), defended(solver=Picard()), "choose 1 to 60"),
        (StraightThrough(), defended(), "nothing at inference"),
        (ThroughDefence(), defended(), "updates no input"),
        (ThroughDefence(), defended(Jitter(Vanilla())), "has no `unrolled`"),
        (Undefended(), defended(), "no inference defense"),
        (AfterTransfer(), defended(), "no inference defense"),
    ],
)
def test_a_view_that_does_not_exist_says_why(surrogate, target, reason):
    assert reason in surrogate.applies(target)


@pytest.mark.parametrize(
    "make", [lambda: Differences(0), lambda: Expectation(draws=0), lambda: ThroughDefence(0),
             lambda: Transfer(-1), lambda: AfterTransfer(steps=0), lambda: AfterTransient(path=0)],
)  # fmt: skip
def test_impossible_views_are_refused(make):
    with pytest.raises(SpecError, match="expected"):
        make()
