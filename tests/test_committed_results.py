"""What is committed under results/: boards that their records give, and what they have to show."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robustdeq.defenses.base import Task
from robustdeq.evaluation.protocol import load_protocol, shipped
from robustdeq.evaluation.roster import default_entries
from robustdeq.goals.cost import Cost
from robustdeq.goals.map import Map
from robustdeq.results import ResultStore, check_boards
from robustdeq.results.boards.evidence import gather
from robustdeq.results.flags import find_flag
from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.reports.audits import Audits
from robustdeq.results.reports.times import Times
from robustdeq.training.trained import load_model

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
PROTOCOL = "digits-linf-v1"


@pytest.fixture(scope="module")
def rows():
    board = json.loads((RESULTS / "boards" / f"{PROTOCOL}.json").read_text())
    return {row["entrant"]: row for row in board["standings"]}


def test_every_committed_board_is_what_its_records_give():
    assert check_boards(RESULTS) == []


@pytest.mark.parametrize("name", shipped())
def test_the_stored_protocol_is_the_released_one(name):
    protocol = load_protocol(name)
    images = len(protocol.load_data().test)
    stored = json.loads((RESULTS / "protocols" / f"{name}.json").read_text())
    stored.pop("schema")
    assert stored == protocol.resolved(images)


def test_the_board_holds_the_quickstarts_entrants_and_others_as_provisional(rows):
    complete = {chain for chain, row in rows.items() if row["complete"]}
    assert complete == {entry.defense.chain for entry in default_entries()}


def test_a_clean_trained_equilibrium_model_keeps_at_most_a_tenth(rows):
    assert rows["vanilla"]["robust"] <= 0.10


def test_the_best_adversarially_trained_row_is_robust_and_accurate(rows):
    best = max(rows.values(), key=lambda row: row["robust"])
    assert best["defense"] in {"adversarial-training", "trades"}
    assert best["robust"] >= 0.40
    assert best["clean"] >= 0.93


def test_no_row_is_above_its_weakest_column(rows):
    for row in rows.values():
        weakest = row["columns"][row["weakest"]]
        assert row["robust"] <= weakest
        assert weakest == min(value for value in row["columns"].values() if value is not None)


def test_the_equilibria_converge_where_they_were_judged(rows):
    complete = [row["deployment"] for row in rows.values() if row["complete"]]
    solved = [deployment for deployment in complete if deployment["solver"] is not None]
    assert len(solved) == 3
    for deployment in solved:
        assert deployment["converged_clean"] >= 0.97
        assert deployment["converged_adversarial"] >= 0.97
        assert deployment["budget"] == 60


def test_a_protocol_of_one_training_seed_ranks_nobody(rows):
    assert all(row["rank"] is None for row in rows.values())


@pytest.fixture(scope="module")
def white_box():
    """The board of every view, over three training seeds."""
    board = json.loads((RESULTS / "boards" / "digits-linf-v2.json").read_text())
    return {row["entrant"]: row for row in board["standings"]}


def test_every_view_was_run_on_three_seeds_of_every_entrant(white_box):
    lineup = default_entries("digits-linf-v2")
    images = {entry.defense.chain: entry.images or 500 for entry in lineup}
    assert {entry.defense.chain for entry in default_entries()} <= set(white_box)
    for row in white_box.values():
        chain = row["entrant"].partition(" ")[0]
        assert (row["complete"], row["seeds"], row["n"]) == (True, 3, images[chain])


def test_adversarial_training_outranks_its_controls_where_nothing_blocks_it(white_box):
    controls = [white_box[control] for control in ("vanilla", "explicit")]
    for chain in ("adversarial-training/vanilla", "trades/vanilla"):
        row = white_box[chain]
        blocked = any(find_flag(flag).blocking for flag in row["flags"])
        assert (row["rank"] is None) == blocked
        assert blocked or row["rank"] < min(control["rank"] for control in controls)
        assert row["robust"] > max(control["robust"] for control in controls)


@pytest.mark.parametrize(
    ("teller", "file", "protocol"),
    [
        (Cost(), "slow-down.md", "digits-linf-v2"),
        (Map(), "state-map.md", "digits-linf-v2"),
        (Times(), "times.md", "digits-linf-v2"),
        (Audits(), "audits.md", ""),  # of weights, whatever protocol they have entered
    ],
)
def test_a_committed_report_is_what_its_records_give(teller, file, protocol):
    text = (RESULTS / "reports" / file).read_text(encoding="utf-8")
    assert to_markdown(teller.page(ResultStore(RESULTS), protocol)) == text


def test_transfer_breaks_at_most_two_images_that_nothing_else_breaks():
    store = ResultStore(RESULTS)
    for row in gather(store, store.protocol("digits-linf-v2")):
        for member in row.members:
            other = [found for name, found in member.columns.items() if name != "transfer"]
            only = (member.columns["transfer"] == 0) & (np.min(other, axis=0) == 1)
            assert only.sum() <= 2, (row.entrant, member.seed)


def test_adversarial_training_of_lyadeq_fails_on_two_seeds_of_three():
    store = ResultStore(RESULTS)
    (row,) = (
        row
        for row in gather(store, store.protocol("digits-linf-v2"))
        if row.chain == "adversarial-training/lyadeq"
    )
    assert row.clean().mean(1) == pytest.approx([0.556, 0.086, 0.642])


def test_the_slow_down_attack_costs_every_free_equilibrium_network_that_learnt_something():
    lines = to_markdown(Cost().page(ResultStore(RESULTS), "digits-linf-v2")).splitlines()
    solved = [line.split("|") for line in lines if "picard" in line and "monotone" not in line]
    factors = {cells[1].strip(): float(cells[4]) for cells in solved if float(cells[7]) > 50}
    assert factors.pop("adversarial-training/mdeq") == pytest.approx(1.29)
    # Read after a number of steps that no input can change.
    assert factors.pop("early-state/adversarial-training/vanilla") == 1.0
    assert len(factors) >= 3
    assert min(factors.values()) > 1.5


@pytest.mark.parametrize("entry", default_entries(), ids=lambda entry: entry.defense.chain)
def test_committed_weights_load_and_answer_as_recorded(entry, rows):
    protocol = load_protocol(PROTOCOL)
    data = protocol.load_data()
    entrant = protocol.entered(entry.entrant, data)
    task = Task(data.shape, data.classes)
    model = load_model(ResultStore(RESULTS), entrant, task, torch.device("cpu"))
    right = model.classifier.predict(data.test.images).labels == data.test.labels
    # One prediction where the judge wants three to agree: at most a row or two apart.
    assert right.double().mean().item() == pytest.approx(rows[entrant.chain]["clean"], abs=0.004)


@pytest.mark.parametrize("name", sorted(p.stem for p in (RESULTS / "boards").glob("*.md")))
def test_readme_and_results_page_show_the_committed_boards(name):
    board = (RESULTS / "boards" / f"{name}.md").read_text().splitlines()
    first = next(i for i, line in enumerate(board) if line.startswith("| rank"))
    quickstart = name == "digits-linf-v1"  # of which it shows the quickstart's rows alone
    last = first + 2 + len(default_entries()) if quickstart else board.index("", first)
    table = board[first:last]
    page = REPOSITORY / ("README.md" if quickstart else "docs/results.md")
    assert "\n".join(table) in page.read_text(encoding="utf-8")
