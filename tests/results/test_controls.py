import pytest

from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.early_state import EarlyState
from robustdeq.defenses.federated import Federated
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.results.boards.board import read_board
from robustdeq.results.formats.publish import render

from .examples import add, audit_all, protocol, survivors


@pytest.fixture
def three(store):
    store.write_protocol("tiny-v1", protocol(seeds=(0, 1, 2), columns=("pgd",)))
    return store


def row(store, chain, count, **settings):
    for seed in range(3):
        each = {name: f"{value}{seed}" for name, value in settings.items() if name == "checkpoint"}
        add(store, chain, survivors(count), seed=seed, **{**settings, **each})
    audit_all(store)


def test_a_declared_control_takes_the_rank_and_is_compared_with(three):
    row(three, "vanilla", 8)
    row(three, "explicit", 9)
    row(three, "federated/vanilla", 10, control="vanilla")
    board = read_board(three, "tiny-v1")
    assert [(s.entrant, s.rank is None) for s in board.standings] == [
        ("explicit", False),
        ("vanilla", False),
        ("federated/vanilla", True),
    ]
    (pair,) = board.controlled
    assert (pair.a, pair.b) == ("federated/vanilla", "vanilla")
    assert pair.difference == pytest.approx(2 / 12)


def test_a_control_of_other_epochs_is_none(three):
    row(three, "vanilla", 8, recipe={"epochs": 3})
    row(three, "federated/vanilla", 10, control="vanilla", recipe={"epochs": 9})
    board = read_board(three, "tiny-v1")
    assert board.controlled == []
    assert [s.rank is None for s in board.standings] == [False, True]


def test_another_learning_rate_leaves_the_control_what_it_is(three):
    row(three, "vanilla", 8, recipe={"epochs": 9, "learning_rate": 1})
    row(three, "federated/vanilla", 7, control="vanilla", recipe={"epochs": 9})
    assert len(read_board(three, "tiny-v1").controlled) == 1


def test_the_newest_record_says_what_the_control_is(three):
    row(three, "vanilla", 8)
    row(three, "federated/vanilla", 8)
    assert read_board(three, "tiny-v1").controlled == []
    row(three, "federated/vanilla", 8, control="vanilla", run=1, created="2026-01-02T00:00:00Z")
    assert len(read_board(three, "tiny-v1").controlled) == 1


def test_inference_is_compared_with_its_own_weights_and_keeps_its_rank(three):
    row(three, "vanilla", 8, checkpoint="shared")
    row(three, "trades/vanilla", 8)
    row(three, "early-state/vanilla", 9, checkpoint="shared")
    board = read_board(three, "tiny-v1")
    assert [(pair.a, pair.b) for pair in board.controlled] == [("early-state/vanilla", "vanilla")]
    assert all(standing.rank for standing in board.standings)


def test_a_base_on_other_images_alone_is_no_control(three):
    for seed in range(3):
        add(three, "vanilla", survivors(2, n=3), seed=seed, checkpoint=f"shared{seed}")
    assert read_board(three, "tiny-v1").controlled == []


def test_the_board_prints_the_comparison_and_why_there_is_no_rank(three):
    row(three, "vanilla", 12)
    row(three, "federated/vanilla", 1, control="vanilla")
    text = render(three, "tiny-v1", "md")
    (line,) = (each for each in text.splitlines() if "-91.7" in each)
    assert line.startswith("| federated/vanilla | vanilla ")
    assert "| worse " in line
    assert "federated/vanilla: ranks against its control alone" in text


def test_a_federated_chain_declares_central_training():
    central = AdversarialTraining(Vanilla())
    assert central.control is None
    assert Federated(central).control == central
    assert EarlyState(Federated(central)).control == EarlyState(central)
