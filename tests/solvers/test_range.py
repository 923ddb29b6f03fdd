"""Converged means what it says at every scale that the numbers have.

f(z) = a z + b with a > 1 once gave 200 of 200 rows as converged, residual exactly 0.0 and states of
9e17: a finite change over a norm that had overflowed. States whose squares vanish did the same.
"""

import pytest
import torch

from robustdeq import registry
from robustdeq.adjoints.implicit import AdjointProblem
from robustdeq.equilibrium import CellProblem, binade, residual
from robustdeq.models.deq import DEQClassifier
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve
from robustdeq.solvers.broyden import Broyden
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import LinearToy, tiny_deq, toy_images

FINDERS = [name for name in registry.names("solvers") if name != "fixed-depth"]
every_finder = pytest.mark.parametrize("name", FINDERS)
every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)


def true_residual(z, fz):
    """By Python's own integers: no size of number is out of its range."""
    values = []
    for row, image in zip(z.tolist(), fz.tolist(), strict=True):
        scale = max([abs(v) for v in (*row, *image)]) or 1.0
        change = sum(((b / scale) - (a / scale)) ** 2 for a, b in zip(row, image, strict=True))
        size = sum((b / scale) ** 2 for b in image)
        values.append(0.0 if change == 0 else (change / size) ** 0.5)
    return torch.tensor(values, dtype=torch.float64)


def affine(a, b, dim=40):
    """z = a z + b in every entry, from zero; one row for each b."""
    b = torch.as_tensor(b)[:, None].expand(-1, dim).clone()
    return CellProblem(lambda z, b: a * z + b, (b,), torch.zeros_like(b))


@every_dtype
def test_the_residual_is_right_at_every_size(dtype):
    limits, generator = torch.finfo(dtype), torch.Generator().manual_seed(0)
    ends = torch.tensor([limits.tiny / limits.eps, limits.max / 8], dtype=torch.float64).log10()
    sizes = 10.0 ** torch.linspace(*ends.tolist(), 9, dtype=torch.float64)
    z = torch.rand(9, 30, generator=generator, dtype=torch.float64) + 0.5
    z = (z * sizes[:, None] / 2).to(dtype)
    fz = (1.25 * z.double()).to(dtype)
    found = residual(z, fz).double()
    torch.testing.assert_close(found, true_residual(z, fz), rtol=8 * limits.eps, atol=0.0)


def test_odd_rows_have_their_residual_and_leave_the_others_theirs_bit_for_bit():
    z = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    fz = z + 0.01
    alone = residual(z[:1], fz[:1])
    z[1], fz[1] = 0.0, 0.0
    z[2], fz[2] = 1.0, 0.0
    z[3, 4], fz[4, 2] = torch.nan, torch.inf
    z[5], fz[5] = -3e38, 3e38
    found = residual(z, fz)
    assert torch.equal(found[:1], alone)
    assert found[1] == 0
    assert (found[2:5] == torch.inf).all()
    assert found[5] == 2


@every_dtype
def test_a_binade_is_a_power_of_two_that_bounds_its_row(dtype):
    limits = torch.finfo(dtype)
    rows = torch.tensor([[0.0], [limits.tiny], [0.3], [1.0], [-5.0], [limits.max]], dtype=dtype)
    units = binade(rows)
    assert (torch.frexp(units.double()).mantissa == 0.5).all()
    assert ((rows / units).abs().double()[1:] >= 1).all()
    assert ((rows / units).abs().double() < 2).all()


@every_finder
@pytest.mark.parametrize("a", [1.92, 3.0, -1.5])
def test_what_runs_away_is_not_converged(name, a):
    for steps in (30, 70, 200):
        problem = affine(a, torch.linspace(0.1, 9.0, 20))
        found = solve(problem, registry.find("solvers", name)(tol=1e-3, max_steps=steps))
        true = true_residual(found.z, problem(found.z))
        assert (found.converged <= (true <= 1e-3)).all()
        assert torch.allclose(found.residual.double(), true, rtol=1e-3, atol=1e-6)


def test_a_growing_relu_cell_has_no_converged_row():
    matrix = 1.3 * torch.eye(12) + 0.05
    u = torch.rand(50, 12, generator=torch.Generator().manual_seed(2))
    cell = CellProblem(lambda z, u: torch.relu(z @ matrix + u), (u,), torch.zeros_like(u))
    for steps in (40, 60, 120, 400):
        found = solve(cell, Picard(tol=1e-3, max_steps=steps))
        assert not found.converged.any()
        assert (found.residual > 0.1).all()


@every_finder
@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_a_contraction_is_solved_at_every_scale(name, size):
    """Linear, so the answer at another scale is the answer times it."""
    toy = LinearToy(dim=8, radius=0.9)
    u = toy.injections(4)
    matrix, scaled = toy.matrix.float(), (u * size).float()
    problem = CellProblem(lambda z, u: z @ matrix.T + u, (scaled,), torch.zeros_like(scaled))
    solver = registry.find("solvers", name)(tol=1e-4, max_steps=200)
    found = solve(problem, solver)
    at_one = solve(
        CellProblem(lambda z, u: z @ matrix.T + u, (u.float(),), torch.zeros(4, 8)), solver
    )
    assert found.converged.all()
    assert (found.nfe - at_one.nfe).abs().max() <= 2
    torch.testing.assert_close(found.z.double() / size, toy.answer(u), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("solver", [Anderson(tol=1e-4), Broyden(tol=1e-4)])
def test_the_adjoint_of_a_vanishing_gradient_is_solved_like_any_other(solver):
    """A confident row's gradient is 1e-25; its adjoint was taken for solved where it began."""
    model: DEQClassifier = tiny_deq()
    x = toy_images(4).images
    problem = model.problem(x)
    z = solve(problem, Picard(tol=1e-6, max_steps=200)).z
    g = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
    usual, tiny = (solve(AdjointProblem(problem, z, s * g), solver) for s in (1.0, 2.0**-83))
    assert usual.nfe.min() > 1
    assert torch.equal(usual.nfe, tiny.nfe)
    torch.testing.assert_close(tiny.z * 2.0**83, usual.z, rtol=1e-4, atol=1e-6)


def test_a_step_that_is_lost_in_rounding_is_no_fixed_point():
    """z + b has none; here its second step throws the state so far that the third is lost."""

    def cell(z, b):
        return torch.where((z - b).abs() < 0.1, 1e12 * b, z + b)

    b = torch.tensor([0.5, 1.0, 3.0])[:, None].expand(-1, 6).clone()
    problem = CellProblem(cell, (b,), torch.zeros_like(b))
    assert torch.equal(cell(1e12 * b, b), 1e12 * b)
    found = solve(problem, Picard(tol=1e-3, max_steps=20))
    assert not found.converged.any()
    assert (found.residual > 0.9).all()


def test_a_state_whose_image_is_zero_is_on_its_way_and_not_out_of_range():
    """|f(z) - z| / |f(z)| is infinite there; the row was stopped as if it had overflowed."""
    b = torch.full((2, 5), 9.0)
    problem = CellProblem(lambda z, b: torch.relu(b - 1.5 * z), (b,), torch.zeros_like(b))
    assert (problem(problem(problem.z0)) == 0).all()
    found = solve(problem, Anderson(tol=1e-5, max_steps=60))
    assert found.converged.all()
    torch.testing.assert_close(found.z, b / 2.5, rtol=1e-4, atol=0.0)


@every_finder
def test_a_row_that_is_no_number_leaves_its_peers_alone(name):
    toy = LinearToy()
    u = toy.injections(5)
    solver = registry.find("solvers", name)(tol=1e-10, max_steps=100)
    clean = solve(toy.problem(u), solver)
    for bad in (torch.nan, torch.inf):
        spoiled = u.clone()
        spoiled[2, 1] = bad
        found = solve(toy.problem(spoiled), solver)
        others = [0, 1, 3, 4]
        assert torch.equal(found.nfe[others], clean.nfe[others])
        torch.testing.assert_close(found.z[others], clean.z[others], rtol=1e-9, atol=1e-12)
        assert not found.converged[2]
