"""The fast surface: cheap visits that converge to the exact reading, and never decide a verdict."""

from fractions import Fraction

import pytest
import torch

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.pgd import PGD
from robustdeq.equilibrium import CellProblem
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard
from robustdeq.surface import Cost
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.fast import COMPARISON, FastSurface
from robustdeq.testing.toys import tiny_deq, toy_images
from robustdeq.threats.linf import Linf

TIGHT = Anderson(tol=1e-12, max_steps=300, every=2)


@pytest.fixture
def setting():
    model = tiny_deq().double().eval().requires_grad_(False)
    split = toy_images(6)
    return model, split.images.double(), split.labels, torch.arange(6)


def test_repeated_visits_converge_to_the_exact_value_and_gradient(setting):
    model, x, y, rows = setting
    exact = EquilibriumSurface(model, solver=TIGHT, adjoint_solver=TIGHT)
    wanted = exact.value_and_grad(Samples(x, y, rows), CrossEntropy())
    fast = FastSurface(model)
    for _ in range(200):
        seen = fast.value_and_grad(Samples(x, y, rows), CrossEntropy())
    torch.testing.assert_close(seen.value, wanted.value, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(seen.gradient, wanted.gradient, rtol=1e-6, atol=1e-10)


def test_a_known_row_costs_one_evaluation_and_one_product(setting):
    model, x, y, rows = setting
    surface = FastSurface(model)
    surface.value_and_grad(Samples(x, y, rows), CrossEntropy())
    before = dict(surface.cost.counts)
    surface.value_and_grad(Samples(x, y, rows), CrossEntropy())
    assert surface.cost.counts["forward"] - before["forward"] == len(x)
    assert surface.cost.counts["vjp"] - before["vjp"] == len(x)


def test_what_is_known_of_a_row_does_not_depend_on_its_batch(setting):
    model, x, y, rows = setting
    together, alone = FastSurface(model), FastSurface(model)
    for _ in range(3):
        whole = together.value_and_grad(Samples(x, y, rows), Margin())
        part = alone.value_and_grad(Samples(x[4:5], y[4:5], rows[4:5]), Margin())
    torch.testing.assert_close(whole.gradient[4:5], part.gradient, rtol=1e-9, atol=1e-12)


def test_a_value_starts_from_the_state_of_the_best_point_so_far(setting):
    model, x, y, rows = setting
    surface = FastSurface(model, value_solver=TIGHT)
    surface.value(Samples(x, y, rows), Margin())
    first = surface.cost.counts["forward"]
    surface.value(Samples(x, y, rows), Margin())
    assert surface.cost.counts["forward"] - first == len(x)


def test_an_unconfirmed_row_is_attacked_to_the_end_of_the_budget(setting):
    model, x, _, rows = setting
    wrong = (model.predict(x).labels + 1) % 4  # fooled for the surrogate from the first step
    surface = FastSurface(model)
    PGD(steps=7).perturb(
        Approach(surface), Samples(x, wrong, rows), Linf(Fraction(1, 10)), NoiseStream(0)
    )
    assert surface.cost.counts["calls"] == 8 * len(x)


def test_a_caller_that_names_no_row_sees_one_and_the_same_function_of_the_image(setting):
    model, x, _, rows = setting
    surface = FastSurface(model)
    leaf = x.clone().requires_grad_()
    first = surface.differentiable_logits(leaf)
    surface.value_and_grad(Samples(x.flip(0), torch.zeros_like(rows), rows), Margin())
    with torch.no_grad():
        assert torch.equal(first, surface.differentiable_logits(x))
    exact = EquilibriumSurface(model, solver=TIGHT, adjoint_solver=TIGHT)
    wanted = x.clone().requires_grad_()
    gradients = [
        torch.autograd.grad(logits.logsumexp(1).sum(), image)[0].flatten(1)
        for logits, image in ((first, leaf), (exact.differentiable_logits(wanted), wanted))
    ]
    assert torch.cosine_similarity(*gradients).min() > 0.99


@pytest.mark.parametrize("view", [FastSurface, EquilibriumSurface])
def test_scores_of_one_objective_are_nothing_to_another(setting, view):
    # Losses of cross-entropy, which no margin reaches, kept Square's solves from starting warm.
    model, x, y, rows = setting[:4]
    used, fresh = view(model), view(model)
    used.value(Samples(x, y, rows), CrossEntropy())
    nearby = (x + 0.02).clamp(0, 1)
    for surface in (used, fresh):
        surface.cost = Cost()
        surface.value(Samples(x, y, rows), Margin())
    assert torch.equal(
        used.value(Samples(nearby, y, rows), Margin()).value,
        fresh.value(Samples(nearby, y, rows), Margin()).value,
    )
    assert used.cost.counts == fresh.cost.counts


def test_a_comparison_sees_the_change_of_its_input():
    # At a hundredth the state of the best point was accepted before any of the change arrived.
    u = torch.full((1, 4), 0.05)
    best = u / (1 - 0.95)
    problem = CellProblem(lambda z, u: 0.95 * z + u, (1.1 * u,), torch.zeros(1, 4))
    assert torch.equal(solve(problem, Picard(tol=1e-2), warm=best).z, best)
    seen = solve(problem, COMPARISON, warm=best).z
    assert (seen - best).min() > 0.03  # of the tenth that it is to move
