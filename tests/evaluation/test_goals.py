"""Columns beyond the label: another goal, another budget, other networks, derived views."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import pytest
import torch

from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import CheckpointError, SpecError
from robustdeq.evaluation.adaptive import derived_columns, derived_views
from robustdeq.evaluation.bench import Bench, Source
from robustdeq.evaluation.budget import lengthened
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.evaluation.union import black_box, strongest, white_box
from robustdeq.objectives.slowness import Slowness
from robustdeq.results.store.protocol import derived_column
from robustdeq.samples import Samples
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard
from robustdeq.spec import decode, encode
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.solver_path import SolverPath
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.surrogates.transfer import Transfer
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train

CPU = torch.device("cpu")
DATA = toy_data(train=64, held_out=16, test=16)
LINF = Linf(Fraction(1, 8))


@dataclass(frozen=True)
class Jitter(Wrapper):
    """Adds noise to its input."""

    stage: ClassVar = "inference"
    card: ClassVar = Card("Jitter", "none")

    def transform(self, target, x, noise):
        return x + 0.05 * noise.normal(tuple(x.shape[1:]))


def trained(defense):
    recipe = Recipe(LINF, epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model, {})


@pytest.fixture(scope="module")
def target():
    return trained(Vanilla(channels=8))


@pytest.fixture(scope="module")
def explicit():
    defense = Explicit(channels=8, blocks=1)
    return DefendedModel(defense, build(Entrant(defense), TASK).eval().requires_grad_(False), {})


def run(target, column, **bench):
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": len(DATA.test)}
    trial = Trial(Entrant(target.defense), column, data, LINF)
    return evaluate(trial, Bench(lambda: target, "c" * 64, CPU, 5, **bench), DATA.test)


def loose(solver):
    """A network whose cell hardly contracts, since nothing penalises its Jacobian."""
    defense = Vanilla(channels=8, jacobian_penalty=0.0, solver=solver)
    recipe = Recipe(LINF, epochs=8, batch_size=16, validate_every=8)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model, {})


def test_the_slow_down_attack_costs_evaluations_and_keeps_attacking_what_is_broken():
    target = loose(Picard())
    stage = Stage(PGD(steps=8, objective=Slowness()), SolverPath(30))
    record, tables = run(target, Column("slow", (stage,), (0,), goal="cost"))
    samples = tables["samples"]
    clean, attacked = (samples[name].to_numpy().mean() for name in ("nfe_clean", "nfe_adv"))
    assert attacked > 1.1 * clean
    random = Stage(PGD(steps=1, step=Fraction(1, 1000), objective=Slowness()), SolverPath(30))
    _, by_chance = run(target, Column("slow", (random,), (0,), goal="cost"))
    assert attacked > by_chance["samples"]["nfe_adv"].to_numpy().mean()
    assert record.cost["calls"] >= 8 * record.clean


def test_a_state_map_has_a_line_for_every_view_and_every_state(target):
    views = (ThroughSolverView(state=1), Defended())
    stages = tuple(Stage(PGD(steps=4), view) for view in views)
    record, tables = run(target, Column("map", stages, (0,), goal="map"))
    table = tables["states"].to_pandas()
    assert set(table["attacked"]) == {"clean", "through-solver state 1", "defended"}
    finals = table[table["judged"].isna()].set_index("attacked")
    assert finals.loc["clean", "accuracy"] == record.clean
    assert record.robust <= finals.loc["defended", "accuracy"] < record.clean
    profile = table[table["attacked"] == "clean"]
    assert profile["residual"].iloc[-1] < 1e-3 < profile["residual"].iloc[1]
    first = table[table["judged"] == 1].set_index("attacked")["accuracy"]
    assert first["through-solver state 1"] <= first["clean"]


def test_inputs_crafted_at_one_budget_are_judged_at_another():
    """One step of a cell and four are two functions."""
    short = loose(FixedDepth(max_steps=1))
    records = {
        where: run(short, Column("c", (Stage(PGD(steps=5)),), (0,), deployment=where))[0]
        for where in ("own", "judged-longer", "crafted-longer")
    }
    assert records["own"].robust != records["judged-longer"].robust
    flagged = {where for where, r in records.items() if "budget-dependent" in str(r.flags)}
    assert "own" not in flagged
    assert flagged


def test_a_converged_network_does_not_depend_on_its_budget(target):
    record, _ = run(target, Column("c", (Stage(PGD(steps=4)),), (0,), deployment="judged-longer"))
    assert record.status == "done"
    assert record.flags == ()


def test_lengthening_is_four_times_the_steps_and_a_hundredth_of_the_tolerance(target):
    longer = lengthened(target).classifier.solver
    assert (longer.max_steps, longer.tol) == (240, 1e-5)
    fixed = replace(target, classifier=target.classifier.replaced(solver=FixedDepth(max_steps=3)))
    assert lengthened(fixed).classifier.solver == FixedDepth(max_steps=12)
    assert target.classifier.solver == Picard()


@pytest.mark.parametrize(
    "column",
    [
        Column("c", (Stage(PGD()),), (0,), deployment="judged-longer"),
        Column("c", (Stage(PGD()),), (0,), goal="map"),
        Column("c", (Stage(PGD(objective=Slowness()), SolverPath()),), (0,), goal="cost"),
    ],
    ids=["budget", "map", "cost"],
)
def test_what_needs_an_equilibrium_is_refused_without_one(explicit, column):
    record, tables = run(explicit, column)
    assert (record.status, tables) == ("refused", {})
    assert "no equilibrium" in record.reason


def test_a_transfer_names_its_sources_and_their_weights(target, explicit):
    column = Column(
        "transfer", (Stage(PGD(steps=3), Transfer(0)),), (0,), sources=(Entrant(Explicit()),)
    )
    source = Source("e" * 64, lambda: explicit)
    record, _ = run(target, column, source=lambda entrant: source)
    assert record.sources == ({"chain": "explicit", "seed": 0, "checkpoint": "e" * 64},)
    assert record.flags == ()
    with pytest.raises(CheckpointError, match="source explicit; train it first"):
        run(target, column)


def test_a_column_without_the_source_it_climbs_is_refused_when_it_is_read():
    with pytest.raises(SpecError, match="climbs source 1 of 1; list the networks"):
        Column("c", (Stage(PGD(), Transfer(1)),), (0,), sources=(Entrant(Vanilla()),))


def test_the_derived_views_follow_from_the_hooks_that_a_chain_overrides():
    assert derived_views(Vanilla(), randomised=False) == ()
    names = [view.plugin_name() for view in derived_views(Jitter(Vanilla()), randomised=True)]
    assert names == [
        "straight-through", "through-defence", "through-defence", "undefended", "after-transfer",
        "expectation",
    ]  # fmt: skip


def test_a_board_derives_the_same_columns_from_specs_alone():
    template = Column("adaptive", (Stage(PGD(steps=3)), Stage(Square(queries=5))), (0,))
    columns = derived_columns(template, Jitter(Vanilla()), randomised=True)
    views = encode(derived_views(Jitter(Vanilla()), randomised=True))
    assert encode(columns) == [derived_column(encode(template), view) for view in views]
    assert decode(Column, encode(columns[1])) == columns[1]
    assert columns[1].name == "adaptive: through-defence tau 1/100"
    assert derived_columns(None, Jitter(Vanilla()), randomised=True) == ()


def searches(target):
    """Black boxes, in a hurry."""
    return [
        replace(stage, attack=replace(stage.attack, queries=100))
        if hasattr(stage.attack, "queries")
        else stage
        for stage in black_box()
    ]


@pytest.mark.parametrize(
    ("defense", "others"),
    [
        (Vanilla(channels=8), lambda target: white_box(target)[1:]),
        (Explicit(channels=8, blocks=1), searches),
    ],
    ids=["other views", "searches"],
)
def test_the_union_leaves_fewer_images_than_its_first_stage(defense, others):
    target, samples = trained(defense), DATA.test.samples()
    judge, first = Judge(target, 8), white_box(target)[:1]
    alone = strongest(first, target, judge, samples, LINF)
    union = strongest((*first, *others(target)), target, judge, samples, LINF)
    assert (union.standing <= alone.standing).all()
    assert LINF.contains(samples.images, union.x).all()


def test_an_empty_set_of_survivors_is_no_error(target):
    wrong = (DATA.test.labels + 1) % TASK.classes

    samples = Samples.of(DATA.test.images, wrong)
    lost = samples.select(~Judge(target, 8)(samples).right)
    found = strongest(white_box(target), target, Judge(target, 8), lost, LINF)
    assert not found.standing.any()
    assert torch.equal(found.x, lost.images)
