"""The factorial of projection and head, and starts elsewhere: laws and known answers."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import factorial, lyapunov
from benchmarks.factorial import Plan
from benchmarks.starts import Start, within
from robustdeq.adjoints.implicit import Implicit
from robustdeq.models.cells import Cell
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.solvers.picard import Picard

NOISE = NoiseStream(0)


class Bistable(Cell):
    """tanh(slope z + u): of two stable equilibria where the slope is above 1, of one below."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, z, u):
        return torch.tanh(self.slope * z + u)


class Signed(nn.Module):
    """Logits (s, -s) with s the sum of the state."""

    def forward(self, z):
        total = z.flatten(1).sum(1, keepdim=True)
        return torch.cat([total, -total], dim=1)


def start(slope):
    """Twelve rows that are drawn towards the positive equilibrium from the deployed start."""
    model = DEQClassifier(
        nn.Identity(), Bistable(slope), Signed(), (1, 1, 1), Picard(), Implicit()
    ).requires_grad_(False)
    return Start.deployed(model, torch.full((12, 1, 1, 1), 0.1))


def test_a_ball_of_radius_zero_flips_nothing_and_moves_no_logit():
    for starts in (start(2.0).random(0.0, 3, NOISE), start(2.0).ascent(0.0, 3, NOISE)):
        figures = start(2.0).flips(starts)
        assert figures == {"flipped": 0.0, "settled": 0.0, "converged": 1.0, "moved": 0.0}


def test_starts_lie_on_the_sphere_and_ascent_stays_in_the_ball():
    where = start(0.5)
    for z0 in where.random(3.0, 4, NOISE):
        assert z0.norm(dim=1).tolist() == pytest.approx([3.0] * 12)
    path = list(where.ascent(3.0, 6, NOISE))
    assert len(path) == 7
    assert max(z0.norm(dim=1).max().item() for z0 in path) <= 3.0 * (1 + 1e-6)


def test_a_point_outside_the_ball_goes_to_the_nearest_one():
    centre = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    points = torch.tensor([[1.0, 4.0], [1.5, 0.0]])
    assert within(points, centre, 2.0).tolist() == [[1.0, 2.0], [1.5, 0.0]]


def test_ascent_finds_the_other_equilibrium_where_there_is_one_and_it_is_in_reach():
    two, one = start(2.0), start(0.5)
    assert two.flips(two.ascent(1.5, 8, NOISE))["settled"] == 1.0
    assert two.flips(two.ascent(0.01, 8, NOISE))["flipped"] == 0.0
    assert one.flips(one.ascent(1.5, 8, NOISE))["flipped"] == 0.0


@pytest.mark.slow
def test_each_further_attack_only_breaks_more_and_nothing_is_run_twice(tmp_path, monkeypatch):
    plan = Plan({}, images=6, epochs=1, folder=tmp_path)
    entrant = plan.entrant(lyapunov.CLEAN, "layer", "orthogonal", 0)
    verdicts = {name: np.array(each) for name, each in plan.verdicts(entrant).items()}
    second = np.array(plan.second_look(entrant))
    assert not (verdicts["robust"] & ~verdicts["clean"]).any()
    assert not (second & ~verdicts["robust"]).any()
    assert plan.starts(entrant, 0.0)["worst"]["flipped"] == 0.0
    monkeypatch.setattr(factorial, "ensure_trained", None)
    assert plan.second_look(entrant) == second.tolist()


def test_a_cell_of_the_factorial_has_the_line_up_s_recipe():
    clean, adversarial = (
        Plan({}).entrant(chain, "off", "plain", 2).recipe for chain in lyapunov.CHAINS
    )
    assert (clean.epochs, adversarial.epochs) == (10, 24)
    assert clean.threat == adversarial.threat == factorial.PROTOCOL.threat


def test_the_page_has_a_line_for_every_cell_and_calls_each_claim_by_its_sign(monkeypatch):
    def verdicts(plan, entrant):
        network = getattr(entrant.defense, "base", entrant.defense)
        right = np.arange(500) < (300 if network.mode == "layer" else 200)
        return {"clean": np.full(500, True), "robust": right, "converged": right}

    def second_look(plan, entrant):
        return ~verdicts(plan, entrant)["robust"]

    figures = {"flipped": 0.0, "settled": 0.0, "converged": 1.0, "moved": 0.0}
    monkeypatch.setattr(Plan, "verdicts", verdicts)
    monkeypatch.setattr(Plan, "second_look", second_look)
    monkeypatch.setattr(Plan, "starts", lambda *_: {"random": figures, "worst": figures})
    plan = Plan({lyapunov.CLEAN: 2, lyapunov.ADVERSARIAL: 1})
    cells = lyapunov.measured(plan)
    assert len(list(lyapunov.accuracies(cells))) == 16
    assert len(list(lyapunov.diagnostic(plan))) == 2 * 2 * len(factorial.RADII) * 2
    for figure, said, points in (("robust", "appears", "+20"), ("second", "reversed", "-20")):
        for claim, estimate, _, found in lyapunov.claims(cells, figure, [lyapunov.CLEAN]):
            if "module on above off" in claim:
                assert (estimate, found) == (points, said)
            else:
                assert found == "not reproduced at this scale"
    assert "| adversarial | orthogonal        | on " in lyapunov.page(plan)
