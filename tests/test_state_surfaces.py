"""Views of intermediate states: each against its formula written out, or against its limit."""

import pytest
import torch

from robustdeq.errors import SpecError
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.margin import Margin
from robustdeq.objectives.transient_margin import TransientMargin
from robustdeq.samples import Samples
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.picard import Picard
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.path import PathSurface
from robustdeq.surfaces.states import (
    SimultaneousSurface,
    intermediate_surface,
    replayed_surface,
    state_average_surface,
)
from robustdeq.surrogates.intermediate import Intermediate
from robustdeq.surrogates.simultaneous import Simultaneous
from robustdeq.surrogates.state_average import StateAverage
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.testing.toys import TASK, tiny_deq, toy_images

SPLIT = toy_images(5, TASK)
X, Y, ROWS = SPLIT.images.double(), SPLIT.labels, torch.arange(5)
MODEL = tiny_deq(solver=Picard(tol=1e-13, max_steps=400)).double()


def exact():
    surface = EquilibriumSurface(MODEL, adjoint_solver=Anderson(tol=1e-12, max_steps=200))
    return surface.value_and_grad(Samples(X, Y, ROWS), Margin())


def written_out(readout):
    """Value and gradient of the margin of logits that are computed in the open."""
    leaf = X.clone().requires_grad_()
    problem = MODEL.problem(leaf)
    logits = readout(problem)
    wrong = logits.scatter(1, Y[:, None], -torch.inf).amax(1)
    value = wrong - logits.gather(1, Y[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return logits.detach(), value.detach(), gradient


def applied(problem, z, times):
    for _ in range(times):
        z = problem(z)
    return z


def expect_same(reading, logits, value, gradient):
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(reading.logits, logits, **close)
    torch.testing.assert_close(reading.value, value, **close)
    torch.testing.assert_close(reading.gradient, gradient, **close)


@pytest.mark.parametrize("state", [1, 4])
def test_a_replayed_state_has_the_gradient_of_all_steps_before_it(state):
    reading = replayed_surface(MODEL, state).value_and_grad(Samples(X, Y, ROWS), Margin())
    expect_same(
        reading, *written_out(lambda problem: MODEL.readout(applied(problem, problem.z0, state)))
    )


@pytest.mark.parametrize("state", [0, 3])
def test_an_unrolled_state_has_the_gradient_of_the_damped_steps_after_it(state):
    def readout(problem):
        with torch.no_grad():
            z = applied(problem, problem.z0, state)
        w = problem(z)
        for _ in range(2):
            w = 0.5 * w + 0.5 * problem(w)
        return MODEL.readout(w)

    surface = intermediate_surface(MODEL, state, unroll=2, damping=0.5)
    expect_same(surface.value_and_grad(Samples(X, Y, ROWS), Margin()), *written_out(readout))


def test_the_state_average_reads_the_mean_state_and_differentiates_one_step_of_each():
    def readout(problem):
        with torch.no_grad():
            states = [applied(problem, problem.z0, n) for n in (1, 2)]
            states.append(MODEL.solve(X).z)
        total = sum(z + problem(z) - problem(z).detach() for z in states)
        return MODEL.readout(total / 3)

    reading = state_average_surface(MODEL, 2).value_and_grad(Samples(X, Y, ROWS), Margin())
    expect_same(reading, *written_out(readout))


def test_a_path_shows_the_read_out_of_every_state_to_objectives_that_need_them():
    surface, problem = PathSurface(MODEL, 6), MODEL.problem(X)
    view = surface.view(X, ROWS, TransientMargin.needs)
    states = [applied(problem, problem.z0, times) for times in range(7)]
    by_hand = torch.stack([MODEL.readout(z) for z in states])
    torch.testing.assert_close(view.path_logits, by_hand)
    torch.testing.assert_close(view.path_logits[-1], view.logits)
    assert surface.view(X, ROWS, Margin.needs).path_logits is None


def test_the_transient_margin_has_the_gradient_of_the_state_where_it_is_largest():
    reading = PathSurface(MODEL, 6).value_and_grad(Samples(X, Y, ROWS), TransientMargin(first=2))
    states = [replayed_surface(MODEL, state) for state in range(2, 7)]
    each = [surface.value_and_grad(Samples(X, Y, ROWS), Margin()) for surface in states]
    value, largest = torch.stack([one.value for one in each]).max(0)
    gradient = torch.stack([one.gradient for one in each])[largest, ROWS]
    torch.testing.assert_close(reading.value, value)
    torch.testing.assert_close(reading.gradient, gradient)


def test_the_simultaneous_adjoint_tends_to_the_implicit_gradient():
    reading = SimultaneousSurface(MODEL, 200).value_and_grad(Samples(X, Y, ROWS), Margin())
    expected = exact()
    torch.testing.assert_close(reading.gradient, expected.gradient, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(reading.logits, expected.logits, rtol=1e-9, atol=1e-11)


def test_a_simultaneous_adjoint_of_one_step_is_the_recursion_by_hand():
    """s_1 = J^T 0 + dL/dz at z_0, read through df/dx at z_1."""
    reading = SimultaneousSurface(MODEL, 1).value_and_grad(Samples(X, Y, ROWS), CrossEntropy())
    leaf = X.clone().requires_grad_()
    problem = MODEL.problem(leaf)
    z0 = problem.z0.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(MODEL.readout(z0), Y, reduction="sum")
    (s,) = torch.autograd.grad(loss, z0)
    (expected,) = torch.autograd.grad(problem(problem(problem.z0).detach()), leaf, s)
    torch.testing.assert_close(reading.gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_long_unrolling_tends_to_the_implicit_gradient():
    reading = intermediate_surface(MODEL, 300, 200, 1.0).value_and_grad(
        Samples(X, Y, ROWS), Margin()
    )
    torch.testing.assert_close(reading.gradient, exact().gradient, rtol=1e-7, atol=1e-10)


def test_every_evaluation_is_booked():
    surface = intermediate_surface(MODEL, 3, unroll=2, damping=1.0)
    surface.value_and_grad(Samples(X, Y, ROWS), Margin())
    assert surface.cost.counts["forward"] == 5 * (3 + 1 + 3)
    assert surface.cost.counts["vjp"] == 5 * 3
    steps = SimultaneousSurface(MODEL, 4)
    steps.value_and_grad(Samples(X, Y, ROWS), Margin())
    assert steps.cost.counts["forward"] == 5 * 5
    assert steps.cost.counts["vjp"] == 5 * 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: Intermediate(state=-1),
        lambda: Intermediate(state=1, damping=0.0),
        lambda: StateAverage(states=0),
        lambda: Simultaneous(steps=0),
        lambda: ThroughSolverView(state=0),
    ],
)
def test_impossible_states_are_refused(make):
    with pytest.raises(SpecError, match="expected"):
        make()
