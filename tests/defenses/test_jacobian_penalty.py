"""What Jacobian regularisation promises: the estimate, its schedule, and whom it can wrap."""

from dataclasses import replace

import pytest
import torch

from robustdeq.defenses.base import DefendedModel, Defense
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.jacobian_penalty import JacobianPenalty
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.solvers.base import solve
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.spec import decode
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.training.central import build

BARE = Vanilla(channels=8, jacobian_penalty=0.0, solver=FixedDepth(max_steps=12))
COUNT = 8
X = toy_images(COUNT, TASK).images


def target_of(defense, progress=0.0):
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    return DefendedModel(defense, network, {}, progress)


def penalty(defense, draw=0, progress=0.0):
    noise = NoiseStream(0).child("penalty", draw).at(torch.arange(COUNT))
    return defense.penalty(target_of(defense, progress), X, noise).item()


def test_its_mean_is_the_squared_frobenius_norm_by_the_dimension():
    defense = JacobianPenalty(base=BARE, weight=1.0, frequency=1.0, probes=4)
    model = target_of(defense).classifier
    problem = model.problem(X)
    z = solve(problem, model.solver).z
    exact = []
    for row in range(COUNT):
        one = problem.select(torch.tensor([row]))
        jacobian = torch.autograd.functional.jacobian(
            lambda s, f=one: f(s).sum(0), z[row : row + 1]
        )
        exact.append(jacobian.square().sum().item() / z.shape[1])
    estimate = sum(penalty(defense, draw) for draw in range(20)) / 20
    assert estimate == pytest.approx(sum(exact) / COUNT, rel=0.1)


def test_a_rare_penalty_has_the_mean_of_a_constant_one_times_its_frequency():
    always = JacobianPenalty(base=BARE, weight=1.0, frequency=1.0)
    rare = replace(always, frequency=0.25)
    draws = range(60)
    mean = sum(penalty(rare, draw) for draw in draws) / len(draws)
    assert mean == pytest.approx(0.25 * penalty(always), rel=0.2)


def test_a_row_decides_for_itself():
    defense = JacobianPenalty(base=BARE, frequency=0.5)
    rows, stream = torch.arange(COUNT), NoiseStream(0).child("penalty")
    target = target_of(defense)
    whole = defense.penalty(target, X, stream.at(rows)).item()
    halves = [defense.penalty(target, X[r], stream.at(r)).item() for r in rows.split(4)]
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-4)


def test_it_stops_after_its_share_of_the_training():
    defense = JacobianPenalty(base=BARE, frequency=1.0, until=0.4)
    assert penalty(defense, progress=0.39) > 0
    assert penalty(defense, progress=0.4) == 0


def test_it_comes_on_top_of_its_bases_own():
    both = JacobianPenalty(base=replace(BARE, jacobian_penalty=3.0), frequency=1.0)
    alone = replace(both, weight=0.0)
    bare = replace(both, base=BARE)
    assert penalty(both) == pytest.approx(penalty(alone) + penalty(bare), rel=1e-5)


def test_a_base_without_an_equilibrium_is_refused_when_it_is_built():
    with pytest.raises(SpecError, match="needs the states of an equilibrium network"):
        build(Entrant(JacobianPenalty(base=Explicit())), TASK)


def test_the_pair_of_the_signature_is_entered_as_its_docstring_says():
    base = {
        "name": "vanilla", "jacobian_penalty": 0.0,
        "solver": {"name": "fixed-depth", "max_steps": 12}, "channels": 8,
    }  # fmt: skip
    found = decode(Defense, {"name": "jacobian-penalty", "base": base})
    assert found == JacobianPenalty(base=BARE)


@pytest.mark.parametrize(
    "fields", [{"weight": -1.0}, {"frequency": 0.0}, {"probes": 0}, {"until": 1.5}]
)
def test_bad_input_is_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(SpecError, match=f"{name} {value}"):
        JacobianPenalty(base=BARE, **fields)
