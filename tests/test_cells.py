"""The seam of a cell: what depends on the weights alone is computed once per problem."""

import torch

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.models.cells import Cell, TanhCell
from robustdeq.models.deq import DEQClassifier
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
