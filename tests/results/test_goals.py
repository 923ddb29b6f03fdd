"""Columns with another goal, derived columns and audits: their place on a board, their reports."""

import json

import numpy as np
import pyarrow as pa
import pytest

from robustdeq.errors import StoreError
from robustdeq.goals.cost import Cost
from robustdeq.goals.map import Map
from robustdeq.results.boards.leaderboard import leaderboard
from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.reports.audit import audit_page, verdict
from robustdeq.results.reports.audits import Audits
from robustdeq.results.reports.times import YARDSTICK, Times
from robustdeq.results.store.protocol import derived_column
from robustdeq.results.store.tables import AUDIT, STATES

from .examples import DEQ, N, add, column, protocol, samples, spec, survivors

COST = {"goal": "cost"}
MAP = {"goal": "map"}
VIEW = {"name": "straight-through", "version": 1}


@pytest.fixture
def goals(store):
    """A protocol with a label column, and one of each other goal and budget."""
    resolved = protocol(columns=("pgd",))
    resolved["columns"] += [
        column("slow", **COST),
        column("map", **MAP),
        column("long", deployment="judged-longer"),
    ]
    store.write_protocol("tiny-v1", resolved)
    return store


def add_goals(store, chain="vanilla"):
    add(store, chain, survivors(9))
    add(store, chain, survivors(3), name="slow", settings=COST)
    add(store, chain, survivors(2), name="map", settings=MAP, extra={"states": states()})
    add(
        store, chain, survivors(1), name="long", settings={"deployment": "judged-longer"},
        flags=("budget-dependent",),
    )  # fmt: skip


def states():
    lines = [
        {"attacked": attacked, "attack_seed": 0, "judged": judged, "accuracy": accuracy,
         "entropy": 0.5, "residual": 0.25, "n": N}
        for attacked, judged, accuracy in [
            ("clean", 1, 0.5), ("clean", None, 1.0),
            ("defended", 1, 0.375), ("defended", None, 0.25),
        ]
    ]  # fmt: skip
    return pa.Table.from_pylist(lines, schema=STATES)


def test_other_goals_and_budgets_are_required_and_leave_the_figure_alone(goals):
    add(goals, "vanilla", survivors(9))
    (standing,) = leaderboard(goals, "tiny-v1")
    assert (standing.robust, standing.complete) == (0.75, False)


def test_a_row_with_all_of_them_is_complete_and_shows_their_flags(goals):
    add_goals(goals)
    (standing,) = leaderboard(goals, "tiny-v1")
    assert (standing.robust, standing.complete, standing.weakest) == (0.75, True, "pgd")
    assert standing.external_robust is None
    assert standing.flags == ["budget-dependent"]
    assert set(standing.columns) == {"pgd"}


def test_what_acts_at_inference_is_complete_only_with_its_derived_columns(store):
    resolved = protocol(columns=("pgd",)) | {"adaptive": column("adaptive")}
    store.write_protocol("tiny-v1", resolved)
    add(store, "early/vanilla", survivors(9), adaptive=(VIEW,))
    (standing,) = leaderboard(store, "tiny-v1")
    assert not standing.complete
    derived = derived_column(column("adaptive"), VIEW)
    assert derived["name"] == "adaptive: straight-through"
    stages = {"stages": derived["stages"]}
    add(
        store, "early/vanilla", survivors(4), name=derived["name"], settings=stages,
        adaptive=(VIEW,),
    )  # fmt: skip
    (standing,) = leaderboard(store, "tiny-v1")
    assert (standing.complete, standing.robust) == (True, 4 / N)
    assert standing.weakest == "adaptive: straight-through"


def test_without_a_template_nothing_is_derived(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    add(store, "early/vanilla", survivors(9), adaptive=(VIEW,))
    (standing,) = leaderboard(store, "tiny-v1")
    assert standing.complete


def audited(store, checkpoint, flag, attack_seed=0, **more):
    line = {"check": f"gradient: {flag}", "index": None, "value": 0.5, "detail": "raised"}
    return add(
        store, "vanilla", survivors(1), name="audit",
        settings={"goal": "audit", "stages": [], "seeds": [attack_seed]},
        checkpoint=checkpoint, flags=(flag,), **more,
        extra={"audit": pa.Table.from_pylist([line], schema=AUDIT)},
    )  # fmt: skip


def test_an_audit_flags_the_row_of_its_weights_and_no_other(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    add(store, "vanilla", survivors(9), checkpoint="kept")
    audited(store, "kept", "gradient-misaligned")
    audited(store, "gone", "zero-gradient", created="2025-01-01T00:00:00Z")
    (standing,) = leaderboard(store, "tiny-v1")
    assert standing.flags == ["gradient-misaligned"]
    assert (standing.blocked, standing.robust) == (True, 0.75)


def test_the_slow_down_report_counts_evaluations_and_missed_tolerances(goals):
    table = samples(np.atleast_2d(survivors(3)))
    for name, values in (
        ("nfe_clean", np.full(N, 10, np.int32)),
        ("nfe_adv", np.where(np.arange(N) < 6, 20, 60).astype(np.int32)),
        ("residual_adv", np.where(np.arange(N) < 9, 0.0, 0.1).astype(np.float32)),
    ):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    add(goals, "vanilla", survivors(3), name="slow", settings=COST, extra={"samples": table})
    (line,) = [
        line
        for line in to_markdown(Cost().page(goals, "tiny-v1")).splitlines()
        if "vanilla" in line
    ]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "vanilla", "10.0", "40.0", "4.00", "60", "25.0", "100.0", "25.0",
        f"picard, {DEQ['tolerance']}, 60 steps", str(N), "1",
    ]  # fmt: skip


def test_the_state_map_has_a_line_for_each_view_and_a_column_for_each_state(goals):
    add_goals(goals)
    text = to_markdown(Map().page(goals, "tiny-v1"))
    accuracy = text.split("| entropy")[0].splitlines()
    rows = {line.split("|")[1].strip(): line for line in accuracy if line.startswith("| ")}
    assert "z_1" in rows["read-out attacked"]
    assert [cell.strip() for cell in rows["defended"].split("|")[2:4]] == ["37.5", "25.0"]
    assert "## vanilla" in text


def test_a_column_that_enters_no_figure_is_settled_by_its_refusal(goals):
    """No attack slows a solver of fixed depth; of the label columns none may be refused."""
    add_goals(goals)
    add(goals, "fixed", survivors(9))
    add(goals, "fixed", survivors(2), name="map", settings=MAP, extra={"states": states()})
    add(goals, "fixed", survivors(1), name="long", settings={"deployment": "judged-longer"})
    add(goals, "fixed", None, name="slow", settings=COST)
    rows = {standing.entrant: standing for standing in leaderboard(goals, "tiny-v1")}
    assert rows["fixed"].complete
    assert "fixed" not in to_markdown(Cost().page(goals, "tiny-v1"))


def test_times_are_factors_to_the_yardstick_over_the_required_columns(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd", "apgd")))
    for chain, seconds in ((YARDSTICK, 60.0), ("vanilla", 15.0)):
        add(store, chain, survivors(4), seconds=seconds)
        add(store, chain, survivors(4), name="apgd", seconds=seconds)
        add(store, chain, survivors(4), name="further", seconds=1e6)
    log = [{"epoch": 1, "images_per_second": rate} for rate in (100.0, 300.0, 200.0)]
    entry = {"checkpoint": store.scan({"entrant.chain": "vanilla"})[0].checkpoint, "log": log}
    path = store.entrants / "some" / "entrant.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(entry))
    lines = {
        line.split("|")[1].strip(): line
        for line in to_markdown(Times().page(store, "tiny-v1")).splitlines()[4:]
    }
    cells = [cell.strip() for cell in lines["vanilla"].split("|")[2:-1]]
    assert cells == ["1", "12", "0.5", "0.25", "1561", "1.00", "200", "-"]
    path.write_text('{"log": 3}')
    with pytest.raises(StoreError, match="is damaged"):
        Times().page(store, "tiny-v1")


def test_a_matrix_without_a_complete_row_has_no_time(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd", "apgd")))
    add(store, "vanilla", survivors(4))
    with pytest.raises(StoreError, match="no complete entrant"):
        Times().page(store, "tiny-v1")


@pytest.mark.parametrize("tell", [Cost().page, Map().page], ids=["cost", "map"])
def test_a_report_of_what_nobody_ran_says_what_to_run(goals, tell):
    with pytest.raises(StoreError, match=r"run `robustdeq run PROTOCOL --results .* first"):
        tell(goals, "tiny-v1")


@pytest.mark.parametrize(("kept", "flagged"), [(9, True), (4, False), (3, False)])
def test_a_fast_column_above_its_exact_twin_is_flagged(store, kept, flagged):
    """The same attack in either mode, on the same weights: 4 images survive the exact one."""
    store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    add(store, "vanilla", survivors(4))
    fast = column("pgd")["stages"][0]
    fast = {**fast, "surrogate": {**fast["surrogate"], "mode": "fast"}}
    add(store, "vanilla", survivors(kept), name="quick", settings={
        "stages": [{**fast, "attack": {"name": "pgd", "version": 1}}]
    })  # fmt: skip
    (standing,) = leaderboard(store, "tiny-v1")
    assert ("fast-exceeds-exact" in standing.flags) is flagged


@pytest.mark.parametrize(
    ("own", "transferred", "flagged"),
    [
        (N, 4, True),  # 8 images that nothing else breaks
        (N, 5, False),  # 7, which may be chance
        (4, 4, False),  # the same 8
        (9, 4, False),  # 5, and what the other column adds itself
    ],
)
def test_images_that_only_transfer_breaks_are_flagged(store, own, transferred, flagged):
    resolved = protocol(columns=("pgd",))
    trained_apart = {"sources": [{"defense": spec("vanilla"), "seed": 100}]}
    resolved["columns"].append(column("transfer", **trained_apart))
    store.write_protocol("tiny-v1", resolved)
    source = {"chain": "vanilla", "seed": 100, "checkpoint": "c" * 64}
    add(store, "trades/vanilla", survivors(own))
    add(
        store, "trades/vanilla", survivors(transferred), name="transfer", sources=(source,),
        settings=trained_apart,
    )  # fmt: skip
    (standing,) = leaderboard(store, "tiny-v1")
    assert ("transfer-beats-white-box" in standing.flags) is flagged


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "trustworthy"),
        (("randomised", "several-equilibria"), "trustworthy"),
        (("zero-gradient", "randomised"), "suspicious: zero-gradient"),
        (("zero-gradient", "stateful"), "not evaluable: stateful"),
    ],
)
def test_the_verdict_follows_from_the_blocking_flags(flags, expected):
    assert verdict(flags) == expected


def test_the_report_of_an_audit_has_every_figure_and_the_verdict(store):
    record = audited(store, "kept", "gradient-misaligned")
    text = to_markdown(audit_page(store, record.trial))
    assert "gradient: gradient-misaligned" in text
    assert text.endswith("Verdict: suspicious: gradient-misaligned\n")
    with pytest.raises(StoreError, match="has no audit"):
        audit_page(store, "0" * 16)


def test_the_report_of_all_audits_counts_those_that_end_with_a_warning(store):
    with pytest.raises(StoreError, match="run `robustdeq audit ENTRANT --results"):
        Audits().page(store, "")
    audited(store, "one", "gradient-misaligned")
    audited(store, "two", "unconverged", seed=1)
    again = {"seed": 1, "run": 1, "created": "2026-01-02T00:00:00Z"}
    audited(store, "two", "budget-dependent", **again)
    audited(store, "two", "unconverged", seed=1, attack_seed=2)
    text = to_markdown(Audits().page(store, ""))
    store.write_protocol("tiny-v1", protocol())
    on_one = to_markdown(Audits().page(store, "tiny-v1"))
    assert on_one == text.replace("# Audits", "# Audits on tiny-v1")
    assert [line.split("|")[9].strip() for line in text.splitlines() if "| vanilla " in line] == [
        "gradient-misaligned",
        "budget-dependent",
        "unconverged",
    ]
    # 1 of 2: the p with P(at most 1 of 2) = 0.05 solves 1 - p^2 = 0.05; 0 of 1: 1 - p = 0.05.
    assert "Attack seed 0: 1 of 2 trained models are not trustworthy, so at most 97.5 %" in text
    assert "Attack seed 2: 0 of 1 trained models are not trustworthy, so at most 95.0 %" in text
