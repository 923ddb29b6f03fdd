"""Every adjoint against the gradient that linear algebra gives, and what it keeps in memory."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from robustdeq.adjoints.exact import Exact
from robustdeq.adjoints.implicit import Implicit
from robustdeq.adjoints.jacobian_free import JacobianFree
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.errors import SpecError
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve
from robustdeq.solvers.broyden import Broyden
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import LinearToy, tiny_deq, toy_images

TOY = LinearToy()
TIGHT = Picard(tol=1e-13, max_steps=300)
TIGHT_IMPLICIT = Implicit(Anderson(tol=1e-13, max_steps=300))


def gradient(adjoint, solver, u, g):
    """d <g, z*> / du by the rule of an adjoint."""
    leaf = u.clone().requires_grad_()
    problem = TOY.problem(leaf)
    z = adjoint.attach(problem, solve(problem, solver), solver)
    (found,) = torch.autograd.grad(z, leaf, g)
    return found


def neumann(terms, g, damping=1.0):
    """d sum_{k < terms} (((1 - d) I + d A)^T)^k g, the gradient of that many damped steps."""
    total, term = torch.zeros_like(g), damping * g
    for _ in range(terms):
        total = total + term
        term = (1 - damping) * term + damping * term @ TOY.matrix
    return total


@pytest.fixture
def injections():
    return TOY.injections(5), LinearToy(seed=1).injections(5)


@pytest.mark.parametrize("solver", [Picard, Anderson, Broyden])
def test_the_implicit_gradient_solves_the_transposed_system(injections, solver):
    u, g = injections
    found = gradient(Implicit(solver(tol=1e-13, max_steps=300)), TIGHT, u, g)
    torch.testing.assert_close(found, TOY.adjoint(g), rtol=1e-10, atol=1e-10)


def test_each_row_of_the_adjoint_is_solved_to_its_own_tolerance(injections):
    """A right-hand side of 1e-12 beside one of 1 is solved as well as alone, and 0 stays 0."""
    u, g = injections
    g = g * torch.tensor([1.0, 1e-12, 0.0, 1.0, 1e6], dtype=g.dtype)[:, None]
    found = gradient(Implicit(Anderson(tol=1e-9, max_steps=300)), TIGHT, u, g)
    torch.testing.assert_close(found, TOY.adjoint(g), rtol=1e-6, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_through_solver_is_the_gradient_of_the_deployed_steps(injections, steps):
    u, g = injections
    found = gradient(ThroughSolver(), FixedDepth(max_steps=steps), u, g)
    torch.testing.assert_close(found, neumann(steps, g), rtol=1e-12, atol=1e-12)


def test_through_solver_stops_where_each_row_stopped(injections):
    u, g = injections
    solver = Picard(tol=0.3, max_steps=50)
    problem = TOY.problem(u)
    problem.z0[1:3] = TOY.answer(u)[1:3]  # two rows start at their answer, so they take no step
    stops = solve(problem, solver).returned_at
    leaf = u.clone().requires_grad_()
    moved = TOY.problem(leaf)
    moved.z0.copy_(problem.z0)
    z = ThroughSolver().attach(moved, solve(moved, solver), solver)
    (found,) = torch.autograd.grad(z, leaf, g)
    assert stops[1] == 0
    assert stops[0] > 0
    for row, stop in enumerate(stops.tolist()):
        torch.testing.assert_close(found[row], neumann(stop, g)[row], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "adjoint", [ThroughSolver(), Exact(TIGHT_IMPLICIT), TIGHT_IMPLICIT, Unrolled(), JacobianFree()]
)
def test_an_adjoint_solves_and_attaches_at_once(injections, adjoint):
    u, g = injections
    solver = Picard(tol=0.3, max_steps=4)
    leaf = u.clone().requires_grad_()
    plain = solve(TOY.problem(u), solver, (1,))
    found = adjoint.solve(TOY.problem(leaf), solver, (1,))
    assert torch.equal(found.z, plain.z)
    assert torch.equal(found.states, plain.states)
    (direction,) = torch.autograd.grad(found.z, leaf, g)
    torch.testing.assert_close(direction, gradient(adjoint, solver, u, g), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert not adjoint.solve(TOY.problem(leaf), solver).z.requires_grad


@pytest.mark.parametrize(("steps", "damping"), [(1, 1.0), (4, 1.0), (3, 0.4)])
def test_unrolling_truncates_the_neumann_series(injections, steps, damping):
    u, g = injections
    found = gradient(Unrolled(steps, damping), TIGHT, u, g)
    torch.testing.assert_close(found, neumann(steps, g, damping), rtol=1e-12, atol=1e-12)


def test_the_jacobian_free_gradient_leaves_the_inverse_out(injections):
    u, g = injections
    torch.testing.assert_close(gradient(JacobianFree(), TIGHT, u, g), g, rtol=0, atol=0)


def test_exact_is_implicit_where_a_row_converged_and_through_solver_elsewhere(injections):
    u, g = injections
    reached = solve(TOY.problem(u), Picard(tol=0.0, max_steps=5)).residual
    solver = Picard(tol=reached.median().item(), max_steps=5)
    converged = solve(TOY.problem(u), solver).converged
    assert converged.tolist() == (reached <= solver.tol).tolist()
    assert 0 < int(converged.sum()) < len(u)
    found, implicit, through = (
        gradient(adjoint, solver, u, g)
        for adjoint in (Exact(TIGHT_IMPLICIT), TIGHT_IMPLICIT, ThroughSolver())
    )
    # Solved in a smaller batch, which a CPU may add up in another order.
    torch.testing.assert_close(found[converged], implicit[converged], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[~converged], through[~converged], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("fields", [{"steps": 0}, {"damping": 0.0}, {"damping": 1.5}])
def test_an_unrolling_that_makes_no_sense_is_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(SpecError, match=f"{name} {value}"):
        Unrolled(**fields)


def saved_elements(adjoint, steps):
    """Numbers that autograd keeps for one input gradient through `steps` solver steps."""
    solver = Picard(tol=0.0, max_steps=steps)
    model = tiny_deq(solver=solver, adjoint=adjoint)
    x = toy_images(3).images.requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.autograd.grad(model(x).sum(), x)
    return sum(kept)


def test_the_memory_of_an_implicit_gradient_does_not_grow_with_the_step_limit():
    few, many = (
        saved_elements(Implicit(Picard(tol=0.0, max_steps=steps)), steps) for steps in (20, 200)
    )
    assert few == many


def test_the_memory_of_the_reference_gradient_does():
    # Until float32 stands still at a residual of exactly 0, each step keeps its activations.
    few, many = (saved_elements(ThroughSolver(), steps) for steps in (4, 12))
    assert many > 2 * few
