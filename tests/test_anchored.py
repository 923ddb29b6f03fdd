"""Warm states: trusted where a cell has one equilibrium, caught where it has two."""

import pytest
import torch

from robustdeq.equilibrium import CellProblem
from robustdeq.models.anchored import AnchoredStates
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard

SOLVER = Picard(tol=1e-4, max_steps=200)
ROWS = torch.tensor([3, 8])


def two_branches(push):
    """z = tanh(2 z + push): two stable equilibria for a small push; a cold solve takes its sign."""
    push = torch.tensor(push).reshape(-1, 1)
    cell = lambda z, c: torch.tanh(2 * z + c)  # noqa: E731
    return CellProblem(cell, (push,), torch.zeros_like(push))


def contraction(push):
    push = torch.tensor(push).reshape(-1, 1)
    cell = lambda z, c: 0.5 * torch.tanh(z) + c  # noqa: E731
    return CellProblem(cell, (push,), torch.zeros_like(push))


def visit(states, problem):
    answer = states.solve(problem, SOLVER, ROWS)
    states.put(ROWS, answer.z)
    return answer


def test_a_row_that_followed_another_branch_is_solved_cold_from_then_on():
    states = AnchoredStates()
    visit(states, two_branches([0.2, 0.2]))
    for push in ([-0.1, 0.1], [-0.05, 0.1], [0.05, 0.1], [-0.05, 0.1], [0.05, 0.1]):
        answer = visit(states, two_branches(push))
        assert torch.equal(answer.z[0].sign(), torch.tensor(push[:1]).sign())
    assert torch.equal(
        solve(two_branches([0.2]), SOLVER, warm=torch.tensor([[-1.0]])).z.sign(),
        torch.tensor([[-1.0]]),
    ), "the toy has lost its second branch"


def test_cold_solves_become_rare_where_warm_ones_agree():
    states, dear = AnchoredStates(), []
    for number in range(34):
        nfe = visit(states, contraction([0.3 + 1e-6 * number] * 2)).nfe
        if bool((nfe > 1).all()):
            dear.append(number)
    assert dear == [0, 1, 3, 7, 15, 23, 31]


@pytest.mark.parametrize("make", [two_branches, contraction])
def test_no_row_depends_on_its_peers(make):
    together, alone = AnchoredStates(), AnchoredStates()
    for push in ([0.2, 0.3], [-0.1, 0.2], [0.3, -0.2], [-0.2, 0.1]):
        both = visit(together, make(push))
        one = alone.solve(make(push[1:]), SOLVER, ROWS[1:])
        alone.put(ROWS[1:], one.z)
        assert torch.equal(both.z[1], one.z[0])


def test_rows_without_names_are_solved_cold():
    states = AnchoredStates()
    visit(states, two_branches([0.2, 0.2]))
    problem = two_branches([-0.1, -0.1])
    assert torch.equal(states.solve(problem, SOLVER, None).z, solve(problem, SOLVER).z)
