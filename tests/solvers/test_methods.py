"""What Anderson and Broyden promise beyond finding the fixed point, and what no solver accepts."""

import math

import pytest
import torch

from robustdeq.errors import SpecError
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve
from robustdeq.solvers.broyden import Broyden
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import LinearToy

LINEAR = LinearToy()


def test_anderson_solves_a_linear_problem_in_a_step_more_than_its_dimension():
    """With a history of dim + 1 it is GMRES (Walker and Ni 2011), which ends after dim steps."""
    toy = LinearToy(dim=4, radius=0.95)
    u = toy.injections(5)
    accelerated = solve(toy.problem(u), Anderson(tol=1e-6, max_steps=300, history=6, ridge=0.0))
    plain = solve(toy.problem(u), Picard(tol=1e-6, max_steps=300))
    assert (accelerated.returned_at <= 4 + 2).all()
    assert (plain.returned_at > 100).all()
    torch.testing.assert_close(accelerated.z, toy.answer(u), rtol=1e-4, atol=1e-4)


def test_anderson_solves_a_right_hand_side_of_any_scale_alike():
    """An absolute ridge would turn a tiny adjoint into plain averaging."""
    u = LINEAR.injections(3)
    ordinary, tiny = (solve(LINEAR.problem(s * u), Anderson(tol=1e-8)) for s in (1.0, 1e-9))
    assert torch.equal(ordinary.nfe, tiny.nfe)
    torch.testing.assert_close(1e9 * tiny.z, ordinary.z, rtol=1e-6, atol=0)


def test_anderson_mixes_only_every_kth_step():
    u = LINEAR.injections(2)
    plain, mixed = (
        solve(LINEAR.problem(u), solver, record=(1, 2, 3)).states
        for solver in (Picard(tol=0.0), Anderson(tol=0.0, every=3))
    )
    assert torch.equal(plain[:2], mixed[:2])
    assert not torch.allclose(plain[2], mixed[2])


@pytest.mark.parametrize("pairs", [1, 3])
def test_broyden_keeps_at_most_its_pairs(pairs):
    solver, memory = Broyden(pairs=pairs), {}
    u = LINEAR.injections(2)
    problem, z, most = LINEAR.problem(u), torch.zeros_like(u), 0
    for number in range(12):
        z = solver.step(number, z, problem(z), memory)
        most = max(most, sum(key.startswith("u") for key in memory))
    assert most == pairs
    torch.testing.assert_close(z, LINEAR.answer(u), rtol=1e-2, atol=1e-2)


def test_broyden_solves_a_linear_problem_where_picard_crawls():
    """On a linear problem Broyden's method ends after at most 2 dim steps (Gay 1979)."""
    toy = LinearToy(dim=4, radius=0.95)
    found = solve(toy.problem(toy.injections(5)), Broyden(tol=1e-8, max_steps=300))
    assert found.converged.all()
    assert (found.returned_at <= 2 * 4).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Picard(tol=-1.0), "tolerance -1.0 is negative"),
        (lambda: Picard(tol=math.nan), "tolerance nan is negative"),
        (lambda: Picard(max_steps=0), "max_steps 0 leaves nothing to do; expected at least 1"),
        (lambda: Picard(damping=0.0), r"damping 0.0 is outside \(0, 1\]"),
        (lambda: Anderson(history=1), "history 1 and every 1"),
        (lambda: Anderson(beta=0.0), "beta 0.0 must be positive"),
        (lambda: Broyden(pairs=0), "pairs 0"),
        (lambda: FixedDepth(tol=1e-3), "a fixed depth has no tolerance, got 0.001"),
    ],
)
def test_a_solver_that_makes_no_sense_is_refused(build, message):
    with pytest.raises(SpecError, match=message):
        build()
