"""A network with two equilibria: gradients at its answer lead away from where the answer jumps."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.attacks.apgd import APGD
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.models.cells import Cell
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.solvers.picard import Picard
from robustdeq.surrogates.after_transient import AfterTransient
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.threats.linf import Linf

N = 64
X, Y, ROWS = torch.full((N, 1, 1, 2), 0.5), torch.zeros(N, dtype=torch.long), torch.arange(N)
THREAT = Linf(Fraction(1, 16))


class TwoEquilibria(Cell):
    """A scalar that ends near -0.66 or near 0.66, as u_0 is negative or positive; and u_1."""

    def forward(self, z, u):
        return torch.stack([torch.tanh(1.2 * z[:, 0] + u[:, 0]), u[:, 1]], 1)


def network():
    """The margin is z_0 + 3 (x_0 - 1/2), where z_0 jumps up at x_1 - x_0 = 3/32.

    At either equilibrium dz_0/dx_0 is -1.8 at least, so the margin grows with x_0: the gradient
    climbs away from the jump, which lies at a small x_0 and a large x_1. Beyond it the label is
    lost at once.
    """
    inject, head = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        inject.weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, 0.0]]))
        inject.bias.copy_(torch.tensor([-3 / 32, -0.5]))
        head.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
        head.bias.zero_()
    model = DEQClassifier(
        nn.Sequential(nn.Flatten(), inject), TwoEquilibria(), head, (2,),
        Picard(tol=1e-4, max_steps=200), ThroughSolver(),
    )  # fmt: skip
    return DefendedModel(Vanilla(), model.eval().requires_grad_(False), {})


def broken(attack, surrogate):
    """How many of 64 searches break the image."""
    target, noise = network(), NoiseStream(0).child("attack")
    approach = surrogate.bind(target, noise)
    found = attack.perturb(approach, Samples(X, Y, ROWS), THREAT, noise)
    lost = torch.stack([target.classifier.predict(x).labels != Y for x in found])
    return int(lost.any(0).sum())


def test_the_label_is_lost_beyond_the_jump():
    corner = X[:1] + float(THREAT.eps) * torch.tensor([-1.0, 1.0])
    assert network().classifier.predict(corner).labels != Y[:1]


@pytest.mark.parametrize("view", [Defended(), ThroughSolverView()])
def test_gradients_at_the_answer_hardly_find_it(view):
    assert broken(APGD(steps=50, objective=Margin()), view) <= N // 8


def test_a_search_that_begins_where_a_solve_was_wrong_on_its_way_does():
    assert broken(APGD(steps=10, objective=Margin()), AfterTransient()) == N
