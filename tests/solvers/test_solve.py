"""The solve loop, under every solver, against fixed points known in closed form."""

import math

import pytest
import torch

from robustdeq import registry
from robustdeq.equilibrium import CellProblem, FixedPointProblem, residual
from robustdeq.errors import SpecError
from robustdeq.solvers import base
from robustdeq.solvers.base import replay, solve, solve_in_graph
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import LinearToy, TanhToy

LINEAR = LinearToy()
TANH = TanhToy(LinearToy(dim=12, radius=0.7))
EXACT = 1e-12  # a residual that float64 reaches
FIELDS = ("z", "residual", "nfe", "returned_at", "converged")


def tight(name, max_steps=200):
    """A registered solver that goes on until float64 is exhausted."""
    if name == "fixed-depth":
        return FixedDepth(max_steps=max_steps)
    return registry.find("solvers", name)(tol=EXACT, max_steps=max_steps)


every_solver = pytest.mark.parametrize("name", registry.names("solvers"))


class Counted(FixedPointProblem):
    """A problem that notes the batch size of each of its evaluations."""

    def __init__(self, problem, sizes):
        self.problem, self.sizes, self.z0 = problem, sizes, problem.z0

    def __call__(self, z):
        self.sizes.append(len(z))
        return self.problem(z)

    def select(self, rows):
        return Counted(self.problem.select(rows), self.sizes)


def scaled(factors):
    """z = a z + 1 per row, with its own factor a: fixed point 1 / (1 - a), diverging for a > 1."""
    a = torch.tensor(factors, dtype=torch.float64)[:, None]
    return CellProblem(lambda z, a: a * z + 1, (a,), torch.zeros_like(a))


@every_solver
def test_a_linear_fixed_point_is_found(name):
    u = LINEAR.injections(5)
    found = solve(LINEAR.problem(u), tight(name))
    # an error is at most residual / (1 - radius) of the answer
    torch.testing.assert_close(found.z, LINEAR.answer(u), rtol=1e-10, atol=1e-10)
    assert found.converged.all()


@every_solver
def test_a_chosen_fixed_point_of_a_nonlinear_cell_is_found(name):
    z = 0.9 * torch.tanh(LinearToy(dim=12, seed=1).injections(7))
    found = solve(TANH.problem(TANH.injection(z)), tight(name))
    torch.testing.assert_close(found.z, z, rtol=1e-10, atol=1e-10)


@every_solver
def test_the_residual_is_that_of_the_returned_state(name):
    u = TANH.linear.injections(4)
    problem = TANH.problem(u)
    found = solve(problem, registry.find("solvers", name)(max_steps=6))
    torch.testing.assert_close(found.residual, residual(found.z, problem(found.z)))


def test_the_residual_is_relative_and_infinite_where_a_row_is_not_finite():
    z = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, math.nan], [math.inf, 0.0]])
    fz = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert residual(z, fz).tolist() == [0.0, 0.0, math.inf, math.inf]
    assert residual(torch.zeros(1, 2), fz[:1]).tolist() == [1.0]


def test_picard_stops_at_the_step_that_the_contraction_predicts():
    """|f(z_t) - z_t| = r^t |u|: the first t below tol |f(z_t)| is known before the solve."""
    u, solver = LINEAR.injections(6), Picard(tol=1e-4)
    found = solve(LINEAR.problem(u), solver)
    for row in range(len(u)):
        z, step = torch.zeros_like(u[row]), 0
        while True:
            fz = z @ LINEAR.matrix.T + u[row]
            if LINEAR.radius**step * u[row].norm() <= solver.tol * fz.norm():
                break
            z, step = fz, step + 1
        assert found.returned_at[row] == step
        assert found.nfe[row] == step + 1
        torch.testing.assert_close(found.z[row], z, rtol=1e-13, atol=1e-13)


def test_damping_moves_by_a_share_of_the_step():
    u = LINEAR.injections(3)
    found = solve(LINEAR.problem(u), Picard(damping=0.25, max_steps=1))
    torch.testing.assert_close(found.z, 0.25 * u)


def test_an_easy_row_is_frozen_at_its_own_stop_while_a_hard_one_goes_on():
    found = solve(scaled([0.0, 0.1, 0.9]), Picard(tol=1e-6, max_steps=500))
    assert found.nfe[0] == 2  # the start, and the fixed point itself
    assert found.nfe[0] < found.nfe[1] < found.nfe[2]
    alone = [solve(scaled([a]), Picard(tol=1e-6, max_steps=500)) for a in (0.0, 0.1, 0.9)]
    for name in FIELDS:
        together = getattr(found, name)
        assert torch.equal(together, torch.cat([getattr(one, name) for one in alone])), name


def test_rows_that_stopped_are_no_longer_evaluated_after_a_compaction():
    sizes = []
    solve(Counted(scaled([0.0] * 6 + [0.9] * 2), sizes), Picard(tol=1e-6, max_steps=40))
    assert sizes[0] == 8
    assert set(sizes[2:]) == {2}


@every_solver
def test_compaction_changes_no_answer(name, monkeypatch):
    problem = scaled([0.0, 0.2, -0.9, 0.5, 0.95, 0.1, -0.3, 0.8])
    solver = registry.find("solvers", name)(max_steps=40)
    compacted = solve(problem, solver, record=(3, 30))
    monkeypatch.setattr(base, "_COMPACT_BELOW", -1.0)
    whole = solve(problem, solver, record=(3, 30))
    for field in (*FIELDS, "states"):
        torch.testing.assert_close(
            getattr(compacted, field), getattr(whole, field), rtol=1e-12, atol=1e-12
        )


@every_solver
def test_a_warm_start_at_the_answer_costs_one_evaluation(name):
    u = LINEAR.injections(4)
    solver = registry.find("solvers", name)()
    found = solve(LINEAR.problem(u), solver, warm=LINEAR.answer(u))
    assert (found.nfe == solver.min_steps + 1).all()
    assert (found.returned_at == solver.min_steps).all()
    torch.testing.assert_close(found.z, LINEAR.answer(u))


def test_a_diverging_row_returns_its_best_iterate_and_says_so():
    """z -> -1.5 z + 1 runs away from 0.4; |f - z| / |f| is 1 at the start and grows to 5/3."""
    found = solve(scaled([-1.5, 0.5]), Picard(tol=1e-6, max_steps=30))
    assert found.converged.tolist() == [False, True]
    assert found.returned_at[0] == 0
    assert found.z[0] == 0
    assert found.residual[0] == 1
    assert found.nfe[0] == 31


def test_a_row_that_overflows_spoils_neither_its_best_iterate_nor_another_row():
    """The overflowing row stops before its peers, but not because it has an answer."""
    alone = solve(scaled([0.5] * 8), Picard(tol=1e-6))
    found = solve(scaled([0.5] * 8 + [1e200]), Picard(tol=1e-6))
    assert torch.equal(found.z[:8], alone.z)
    assert not found.converged[8]
    assert found.returned_at[8] == 0
    assert found.z[8] == 0
    assert found.residual[8] == 1


@every_solver
def test_a_row_of_nan_is_not_converged_and_leaves_its_peers_alone(name):
    u = LINEAR.injections(9)
    good = solve(LINEAR.problem(u[:8]), tight(name))
    u[8] = torch.nan
    found = solve(LINEAR.problem(u), tight(name))
    assert found.converged.tolist() == [True] * 8 + [False]
    assert found.residual[8] == math.inf
    torch.testing.assert_close(found.z[:8], good.z, rtol=1e-12, atol=1e-12)


def test_recorded_states_are_the_iterates_and_then_the_answer():
    found = solve(scaled([0.0, 0.5]), Picard(tol=1e-3, max_steps=50), record=(0, 1, 2, 40))
    assert found.states is not None
    easy, hard = found.states[:, 0, 0].tolist(), found.states[:, 1, 0].tolist()
    assert easy == [0.0, 1.0, 1.0, 1.0]
    assert hard == [0.0, 1.0, 1.5, found.z[1].item()]


def test_no_states_are_kept_unless_asked_for():
    assert solve(scaled([0.5]), Picard()).states is None
    with pytest.raises(SpecError, match=r"\(0, -1\) hold a negative step; count from 0"):
        solve(scaled([0.5]), Picard(), record=(0, -1))


def test_a_fixed_depth_returns_its_last_iterate_whatever_its_residual():
    found = solve(scaled([-1.5, 0.5, 0.0]), FixedDepth(max_steps=3))
    assert found.z[:, 0].tolist() == [1 - 1.5 + 2.25, 1.75, 1.0]
    assert found.converged.all()
    assert found.nfe.tolist() == [4, 4, 4]


@every_solver
def test_a_replay_gives_what_the_solve_returned(name):
    problem = scaled([0.0, 0.2, -0.9, 0.5, 0.95, 0.1, -0.3, 0.8])
    solver = registry.find("solvers", name)(max_steps=30)
    found = solve(problem, solver)
    replayed = replay(problem, solver, found.returned_at)
    torch.testing.assert_close(replayed, found.z, rtol=1e-12, atol=1e-12)


def leaves(factors):
    """`scaled`, and the factors as a leaf to differentiate by."""
    problem = scaled(factors)
    leaf = problem.context[0].requires_grad_()
    return problem, leaf


@every_solver
def test_a_solve_in_its_graph_is_the_same_solve_with_the_gradient_of_its_steps(name):
    factors = [0.0, 0.2, -0.9, 0.5, 0.95, 0.1, -0.3, 0.8]
    solver = registry.find("solvers", name)(max_steps=30)
    problem, leaf = leaves(factors)
    plain, found = solve(problem, solver, (2,)), solve_in_graph(problem, solver, (2,))
    for field in (*FIELDS, "states"):
        assert torch.equal(getattr(found, field), getattr(plain, field))
        assert getattr(found, field).requires_grad == (field == "z")
    replayed = replay(problem, solver, plain.returned_at)
    (gradient,), (expected,) = (torch.autograd.grad(z.sum(), leaf) for z in (found.z, replayed))
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)
    assert gradient[1:].abs().min() > 0  # the first answer is 1 whatever z is


def test_a_solve_in_its_graph_evaluates_no_step_twice():
    sizes, twice = [], []
    solve(Counted(scaled([0.5, 0.9]), sizes), Picard())
    solve_in_graph(Counted(leaves([0.5, 0.9])[0], twice), Picard())
    assert twice == sizes


def test_a_row_that_overflows_keeps_the_gradient_of_the_state_it_returned():
    """Its later steps are infinite, and would turn a zero on their way back into no number."""

    a = torch.tensor([[0.5], [3.0]], dtype=torch.float64, requires_grad=True)
    start = torch.ones(2, 1, dtype=torch.float64)
    problem = CellProblem(lambda z, a: torch.exp(a * z) / 10, (a,), start)
    found = solve_in_graph(problem, Picard(max_steps=20))
    assert found.converged.tolist() == [True, False]
    assert found.nfe[1] < 20
    (gradient,) = torch.autograd.grad(found.z.sum(), a)
    assert gradient.isfinite().all()


@every_solver
def test_a_solve_of_no_rows_in_its_graph_is_no_rows(name):
    assert solve_in_graph(leaves([])[0], registry.find("solvers", name)()).z.shape == (0, 1)


def test_a_replay_of_no_rows_is_no_rows():
    assert replay(scaled([]), Picard(), torch.zeros(0, dtype=torch.int64)).shape == (0, 1)


@every_solver
def test_an_empty_batch_has_an_empty_answer(name):
    found = solve(scaled([]), registry.find("solvers", name)())
    assert [len(getattr(found, field)) for field in FIELDS] == [0] * 5
