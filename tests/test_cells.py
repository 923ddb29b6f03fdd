"""The seams of a cell: what is computed once per problem, and how its states lie in memory."""

import pytest
import torch

from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.audits.readouts import features
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.regularised import equilibrium_penalty
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.models.cells import Cell, TanhCell
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.layout import Layout
from robustdeq.models.stock import stock_network
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard


class Rescaled(Cell):
    """f(z; u) = tanh(r z + u) with r derived from the weight, and a count of its derivations."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(3.0))
        self.derived = 0

    def forward(self, z, u):
        return self.fixed()(z, u)

    def fixed(self):
        self.derived += 1
        rate = self.weight / 6
        return lambda z, u: torch.tanh(rate * z + u)


def network(cell):
    return DEQClassifier(
        torch.nn.Flatten(), cell, torch.nn.Identity(), (4,), Picard(tol=1e-6), Unrolled()
    )


def test_a_solve_and_its_gradient_derive_the_weights_once():
    cell = Rescaled()
    model = network(cell)
    model(torch.rand(3, 1, 2, 2)).sum().backward()
    assert cell.derived == 1
    assert cell.weight.grad is not None
    assert cell.weight.grad.abs() > 0


def test_the_next_problem_sees_the_weights_of_its_own_moment():
    cell, x = Rescaled(), torch.rand(3, 1, 2, 2)
    model = network(cell)
    before = solve(model.problem(x), model.solver).z
    with torch.no_grad():
        cell.weight.mul_(0.5)
    after = model.problem(x)
    z = solve(after, model.solver).z
    assert (z - before).abs().max() > 1e-3
    assert torch.allclose(torch.tanh(0.25 * z + x.flatten(1)), z, atol=1e-5)


def test_a_cell_that_derives_nothing_is_its_own_map():
    cell = TanhCell(4)
    assert cell.fixed() is cell


@pytest.mark.parametrize("channels_last", [False, True])
def test_rows_and_states_are_one_memory_either_way(channels_last):
    layout = Layout((3, 2, 4), channels_last)
    rows = torch.arange(48.0).reshape(2, 24)
    states = layout.shaped(rows)
    assert states.shape == (2, 3, 2, 4)
    assert layout.flat(states).data_ptr() == states.data_ptr() == rows.data_ptr()
    assert torch.equal(layout.flat(states), rows)
    by_hand = torch.rand(2, 3, 2, 4)
    assert torch.equal(layout.shaped(layout.flat(by_hand)), by_hand)


def test_where_the_channels_lie_changes_no_answer_no_gradient_and_no_draw():
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    noise = NoiseStream(0).at(torch.arange(5))
    model = stock_network((1, 8, 8), 10, 8, Picard(tol=1e-10, max_steps=200), ThroughSolver())
    target = DefendedModel(Vanilla(channels=8), model.double(), {})
    found = []
    for channels_last in (False, True):
        model.cell.channels_last = channels_last
        leaf = x.clone().requires_grad_()
        answer = model(leaf)
        (gradient,) = torch.autograd.grad(answer.logsumexp(1).sum(), leaf)
        penalty = equilibrium_penalty(model, model.problem(x), noise, 1.0)
        planted = features(target).of(x, torch.arange(5), NoiseStream(0))
        found.append((answer, gradient, penalty, planted))
    for apart, together in zip(*found, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-8, atol=1e-8)
