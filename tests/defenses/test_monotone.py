"""What the monotone network promises: one equilibrium, found by a contraction, and its bound."""

from fractions import Fraction

import pytest
import torch

from robustdeq.defenses.monotone import Monotone
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import SpecError
from robustdeq.models.monotone import MonotoneCell
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import train

WIDTH = 12
TIGHT = Picard(tol=1e-13, max_steps=4000)


def random_cell(seed=0, margin=0.5, alpha=1.0, scale=0.6):
    torch.manual_seed(seed)
    cell = MonotoneCell(WIDTH, margin, alpha).double().requires_grad_(False)
    for layer in (cell.symmetric, cell.skew):
        layer.weight.normal_(0.0, scale)
    return cell


def found(cell, u, start):
    f = cell.fixed()
    z = start
    for _ in range(4000):
        z = f(z, u)
    return torch.relu(z)


def least_symmetric(cell):
    """The smallest eigenvalue of the symmetric part of I - W."""
    f = torch.eye(WIDTH, dtype=torch.float64) - cell.weight
    return torch.linalg.eigvalsh((f + f.T) / 2).min().item()


@pytest.fixture
def u():
    return torch.randn(5, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("alpha", [0.1, 1.0, 3.0])
def test_the_fixed_point_is_the_papers_equilibrium(alpha, u):
    cell = random_cell(alpha=alpha)
    z = found(cell, u, torch.zeros_like(u))
    assert (z > 0).any()
    assert torch.allclose(z, torch.relu(z @ cell.weight.T + u), atol=1e-6)


def test_every_start_and_every_alpha_end_at_one_equilibrium(u):
    ends = [
        found(random_cell(alpha=alpha), u, size * torch.randn_like(u))
        for alpha in (0.2, 1.0)
        for size in (0.0, 1.0, 100.0)
    ]
    assert all(torch.allclose(end, ends[0], atol=1e-8) for end in ends)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.1, 1.0, 20.0])
def test_any_weights_are_monotone(seed, margin):
    assert least_symmetric(random_cell(seed, margin, scale=1.5)) >= margin - 1e-9


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0, 4.0])
def test_the_operator_contracts_by_its_rate(alpha, u):
    """|f(s) - f(t)| <= q |s - t| with q^2 = 1 - 4 alpha m / (1 + alpha L)^2 for L = |I - W|_2."""
    cell = random_cell(alpha=alpha)
    one = torch.eye(WIDTH, dtype=torch.float64)
    smoothness = torch.linalg.matrix_norm(one - cell.weight, 2).item()
    bound = (1.0 - 4.0 * alpha * cell.margin / (1.0 + alpha * smoothness) ** 2) ** 0.5
    assert torch.linalg.matrix_norm(cell.reflection, 2).item() <= bound < 1
    f, s, t = cell.fixed(), torch.randn_like(u), torch.randn_like(u)
    shrunk = (f(s, u) - f(t, u)).norm(dim=1) / (s - t).norm(dim=1)
    assert shrunk.max() <= bound


def test_no_local_slope_exceeds_the_lipschitz_bound(u):
    """|U|_2 / m, whatever W is: Pabbaraju, Winston and Kolter, ICLR 2021, theorem 1."""
    for seed in range(5):
        cell = random_cell(seed)
        injection = torch.randn(WIDTH, 7, dtype=torch.float64)
        bound = torch.linalg.matrix_norm(injection, 2).item() / cell.margin
        z = found(cell, u, torch.zeros_like(u))
        for row in z:
            slopes = torch.diag((row > 0).double())
            one = torch.eye(WIDTH, dtype=torch.float64)
            local = torch.linalg.solve(one - slopes @ cell.weight, slopes @ injection)
            assert torch.linalg.matrix_norm(local, 2).item() <= bound


def test_training_keeps_the_margin_and_every_row_converges():
    data = toy_data(train=64, held_out=16, test=16)
    entrant = Entrant(
        Monotone(width=WIDTH),
        Recipe(Linf(Fraction(1, 8)), epochs=6, batch_size=16, validate_every=6),
    )
    model, _ = train(entrant, data, torch.device("cpu"))
    assert least_symmetric(model.cell.double()) >= 1.0 - 1e-6
    assert model.float().predict(data.test.images).converged.all()


def test_the_readout_is_of_the_rectified_state():
    model = Monotone(width=WIDTH).build(TASK)
    s = torch.randn(3, WIDTH)
    assert torch.equal(model.readout(s), model.readout(torch.relu(s)))
    assert solve(model.problem(torch.rand(3, 1, 8, 8)), TIGHT).z.shape == (3, WIDTH)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"width": 0}, "width 0"), ({"margin": 0.0}, "margin 0.0"), ({"alpha": -1.0}, "alpha -1.0")],
)
def test_bad_input_is_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        Monotone(**fields)
