"""The white-box surface of an equilibrium network: right, warm, and honestly billed."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from robustdeq.adjoints.implicit import Implicit
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.errors import MissingGradient, SpecError
from robustdeq.models.anchored import AnchoredStates
from robustdeq.models.cells import Cell
from robustdeq.models.rows import RowStore
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.picard import Picard
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.network import network_surface, through_solver_surface
from robustdeq.surrogates.base import confirmed
from robustdeq.testing.toys import tiny_deq, toy_images

TASK = Task((1, 4, 4), 3)
TIGHT = Picard(tol=1e-13, max_steps=500)
TIGHT_ADJOINT = Anderson(tol=1e-12, max_steps=200)
LOGITS = frozenset({"logits"})
WARM = 2  # visits, both with a cold solve, before one that is warm alone (`AnchoredStates`)
STEP = 1e-6  # of central differences: truncation about 1e-12, rounding about 1e-10


def setting(solver, count=4):
    model = tiny_deq(TASK, solver=solver).double()
    split = toy_images(count, TASK)
    return model, split.images.double(), split.labels, torch.arange(count) + 7


def central_differences(surface, x, y, objective):
    """The gradient of every row's objective, pixel by pixel, from cold values."""
    found = torch.zeros_like(x)
    unseen = (torch.arange(len(x)) + 100 * number for number in itertools.count(1))
    for pixel in range(x[0].numel()):
        offset = torch.zeros_like(x[0]).flatten()
        offset[pixel] = STEP
        offset = offset.reshape(x[0].shape)
        up, down = (
            surface.value(Samples(x + s * offset, y, next(unseen)), objective).value
            for s in (1, -1)
        )
        found.flatten(1)[:, pixel] = (up - down) / (2 * STEP)
    return found


@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()], ids=["ce", "margin"])
def test_the_gradient_equals_central_differences(objective):
    model, x, y, rows = setting(TIGHT)
    surface = EquilibriumSurface(model, adjoint_solver=TIGHT_ADJOINT)
    found = surface.value_and_grad(Samples(x, y, rows), objective)
    expected = central_differences(surface, x, y, objective)
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.gradient, expected, rtol=1e-5, atol=1e-7 * scale)


def test_a_library_gets_the_same_gradient_through_plain_logits():
    model, x, y, rows = setting(TIGHT)
    surface = EquilibriumSurface(model, adjoint_solver=TIGHT_ADJOINT)
    leaf = x.clone().requires_grad_()
    logits = surface.differentiable_logits(leaf)
    torch.testing.assert_close(logits, model.predict(x).logits, rtol=0, atol=0)
    (found,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y) * len(y), leaf)
    expected = surface.value_and_grad(Samples(x, y, rows), CrossEntropy()).gradient
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_a_row_that_misses_the_tolerance_is_read_through_the_deployed_steps():
    """Both kinds of row in one batch: each reading is that of its own reference."""
    loose = Picard(tol=1e-13, max_steps=6)
    model, x, y, rows = setting(loose)
    residuals = model.predict(x).residual
    cut = Picard(tol=residuals.median().item(), max_steps=6)
    model = model.replaced(solver=cut)
    converged = model.predict(x).converged
    assert converged.any()
    assert not converged.all()
    found = EquilibriumSurface(model, adjoint_solver=TIGHT_ADJOINT).value_and_grad(
        Samples(x, y, rows), CrossEntropy()
    )
    steps = through_solver_surface(model).value_and_grad(Samples(x, y, rows), CrossEntropy())
    bare = model.replaced(adjoint=Implicit(TIGHT_ADJOINT))
    implicit = network_surface(lambda x, rows: bare(x)).value_and_grad(
        Samples(x, y, rows), CrossEntropy()
    )
    for name in ("value", "logits", "gradient"):
        reading, deployed, free = (getattr(r, name) for r in (found, steps, implicit))
        torch.testing.assert_close(reading[~converged], deployed[~converged])
        torch.testing.assert_close(reading[converged], free[converged])
    assert not torch.allclose(implicit.gradient[~converged], steps.gradient[~converged])


def test_a_row_whose_adjoint_misses_its_tolerance_is_read_through_the_deployed_steps():
    model, x, y, rows = setting(Picard(tol=1e-3))
    hopeless = Picard(tol=0.0, max_steps=1)
    found = EquilibriumSurface(model, adjoint_solver=hopeless).value_and_grad(
        Samples(x, y, rows), CrossEntropy()
    )
    steps = through_solver_surface(model).value_and_grad(Samples(x, y, rows), CrossEntropy())
    torch.testing.assert_close(found.gradient, steps.gradient)


class Suspicious(AnchoredStates):
    """Holds that some rows have more than one equilibrium."""

    def __init__(self, suspects):
        super().__init__()
        self.suspects = torch.tensor(suspects)

    def parted(self, rows):
        return torch.isin(rows, self.suspects)


@pytest.mark.parametrize("suspects", [[8], [7, 8, 9, 10]], ids=["one", "all"])
def test_a_row_with_several_equilibria_is_read_through_the_deployed_steps(suspects):
    model, x, y, rows = setting(Picard(tol=1e-3))
    surface = EquilibriumSurface(model)
    surface._states = Suspicious(suspects)
    found = surface.value_and_grad(Samples(x, y, rows), CrossEntropy())
    steps = through_solver_surface(model).value_and_grad(Samples(x, y, rows), CrossEntropy())
    implicit = EquilibriumSurface(model).value_and_grad(Samples(x, y, rows), CrossEntropy())
    suspect = surface._states.parted(rows)
    torch.testing.assert_close(found.gradient[suspect], steps.gradient[suspect])
    torch.testing.assert_close(found.gradient[~suspect], implicit.gradient[~suspect])
    assert not torch.equal(implicit.gradient[suspect], steps.gradient[suspect])


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_a_warm_start_moves_logits_by_no_more_than_the_tolerance(tol):
    model, x, _, rows = setting(Picard(tol=tol, max_steps=200))
    warm, cold = EquilibriumSurface(model), EquilibriumSurface(model)
    for _ in range(WARM):
        warm.view(x, rows, LOGITS)
    moved = (x + 0.05 * torch.ones_like(x)).clamp(0, 1)
    seen, fresh = warm.view(moved, rows, LOGITS).logits, cold.view(moved, rows, LOGITS).logits
    spread = (fresh.amax(1) - fresh.amin(1)).median()
    assert not torch.equal(seen, fresh)
    # two states of residual tol lie at most 2 tol / (1 - contraction) apart
    assert (seen - fresh).abs().max() <= 10 * tol * spread


def test_a_row_is_warm_from_its_own_last_visit_wherever_it_stands_in_the_batch():
    model, x, _, rows = setting(Picard(tol=1e-6))
    surface = EquilibriumSurface(model)
    for _ in range(WARM):
        surface.view(x, rows, LOGITS)
    before = surface.cost.counts["forward"]
    surface.view(x.flip(0), rows.flip(0), LOGITS)
    assert surface.cost.counts["forward"] - before == len(x)


def test_without_rows_every_call_is_cold():
    model, x, _, _ = setting(Picard(tol=1e-6))
    surface = EquilibriumSurface(model)
    first, second = (surface.view(x, None, LOGITS).logits for _ in range(2))
    assert torch.equal(first, model.predict(x).logits)
    assert torch.equal(first, second)


def test_every_cell_evaluation_and_product_is_booked():
    """One row waits for nobody, so its bill is its own number of evaluations."""
    model, x, y, rows = setting(Picard(tol=1e-3), count=1)
    nfe = int(model.predict(x).nfe)
    surface = EquilibriumSurface(model)
    approach = confirmed(surface, DefendedModel(Vanilla(), model, {}), NoiseStream(0))
    surface.view(x, None, LOGITS)
    assert surface.cost.counts == {"calls": 1, "forward": nfe}
    approach.confirm(Samples(x, y, rows))
    assert surface.cost.counts == {"calls": 2, "forward": 2 * nfe}
    surface.value_and_grad(Samples(x, y, rows), CrossEntropy())
    counts = surface.cost.counts
    assert counts["calls"] == 3
    assert counts["forward"] == 3 * nfe + 1  # the one with a graph, at the solved state
    again = EquilibriumSurface(model)
    again.value_and_grad(Samples(x, y, rows), CrossEntropy())
    solved = again.cost.counts["vjp"]
    again.value_and_grad(Samples(x, y, rows), CrossEntropy())
    assert counts["vjp"] == solved
    assert again.cost.counts["vjp"] == solved + 2  # warm: one to see that it holds, one for x


@dataclass(frozen=True)
class Hungry(Objective):
    """Reads what the surface does not show."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "states"})

    def __call__(self, view, y, target=None):
        raise AssertionError("never asked")


def test_an_objective_that_reads_states_is_refused():
    model, x, y, rows = setting(Picard())
    with pytest.raises(SpecError, match="reads states, but this surface shows logits alone"):
        EquilibriumSurface(model).value(Samples(x, y, rows), Hungry())


def test_a_row_store_gives_back_what_was_last_put_and_the_default_elsewhere():
    store, default = RowStore(), torch.zeros(3, 2)
    assert torch.equal(store.get(torch.tensor([4, 0, 2]), default), default)
    store.put(torch.tensor([4, 2]), torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    store.put(torch.tensor([9, 4]), torch.tensor([[3.0, 3.0], [4.0, 4.0]]))
    found = store.get(torch.tensor([4, 0, 2]), default)
    assert found.tolist() == [[4.0, 4.0], [0.0, 0.0], [2.0, 2.0]]
    assert store.get(torch.tensor([9]), default[:1]).tolist() == [[3.0, 3.0]]


def turning(z, u):
    return torch.tanh(u + 0.5 * torch.tanh(z.roll(1, 1)))


class FunctionCell(Cell):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z, u):
        return self.function(z, u)


@pytest.mark.filterwarnings("ignore")  # torch.compile warns of its own parts
def test_a_compiled_cell_has_the_gradient_of_the_plain_one():
    """Its graph serves one product; the refusal of a second was read as a missing gradient."""
    x, y, rows = toy_images(4).images, torch.arange(4), torch.arange(4)
    wanted, found = (
        EquilibriumSurface(tiny_deq().replaced(cell=FunctionCell(cell)).requires_grad_(False))
        .value_and_grad(Samples(x, y, rows), Margin())
        .gradient
        for cell in (turning, torch.compile(turning, backend="aot_eager"))
    )
    assert wanted.abs().amax() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def test_a_failure_that_is_not_autograds_answer_stays_what_it_is():
    def starved(x, rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def misshaped(x, rows):
        return x.flatten(1) @ torch.ones(3, 3)

    x, y = torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)
    for logits, error in ((starved, torch.OutOfMemoryError), (misshaped, RuntimeError)):
        with pytest.raises(error):
            network_surface(logits).value_and_grad(Samples.of(x, y), Margin())


@pytest.mark.parametrize(
    "logits", [lambda x: torch.ones(2, 3), lambda x: torch.ones(2, 3, requires_grad=True)]
)
def test_autograds_own_answer_is_a_missing_gradient(logits):
    x, y = torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(MissingGradient, match="no gradient reaches the input"):
        network_surface(lambda x, rows: logits(x)).value_and_grad(Samples.of(x, y), Margin())
