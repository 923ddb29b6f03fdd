from dataclasses import replace

import numpy as np
import pytest

from robustdeq.errors import StoreError, UnknownName
from robustdeq.results.boards.board import read_board
from robustdeq.results.boards.leaderboard import leaderboard
from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.reports.board import board_page
from robustdeq.results.store.record_file import RecordFile, pack
from robustdeq.results.store.result_store import ResultStore

from .examples import DEQ, EXPLICIT, add, audit_all, column, protocol, survivors


@pytest.fixture
def tiny(store):
    """A store with a protocol of one training seed and the columns pgd and apgd."""
    store.write_protocol("tiny-v1", protocol())
    return store


@pytest.fixture
def seeded(store):
    """A store with a protocol of three training seeds and one column."""
    store.write_protocol("tiny-v1", protocol(seeds=(0, 1, 2), columns=("pgd",)))
    return store


def only(store):
    (standing,) = leaderboard(store, "tiny-v1")
    return standing


def add_seeds(store, chain, counts, **settings):
    for seed, count in enumerate(counts):
        add(store, chain, survivors(count), seed=seed, **settings)
    audit_all(store)


def test_a_row_is_the_worst_case_per_image_over_columns_and_attack_seeds(tiny):
    pgd = np.array([[1, 1, 1, 1] * 3, [1, 1, 0, 1] * 3])
    apgd = np.array([1, 0, 1, 1] * 3)
    # The column lists two attack seeds, so the protocol has to as well.
    two_seeds = protocol("two-v1")
    two_seeds["columns"][0]["seeds"] = [0, 1]
    tiny.write_protocol("two-v1", two_seeds)
    add(tiny, "vanilla", pgd)
    add(tiny, "vanilla", apgd, name="apgd")
    (standing,) = leaderboard(tiny, "two-v1")
    assert standing.columns == {"pgd": 0.75, "apgd": 0.75}
    assert standing.robust == standing.protocol_robust == 0.5
    assert (standing.n, standing.seeds, standing.complete) == (12, 1, True)


def test_the_row_says_who_it_is_and_what_it_cost(tiny):
    add(tiny, "trades/lyadeq/vanilla", survivors(7), wrong=3)
    add(tiny, "trades/lyadeq/vanilla", survivors(5), name="apgd", wrong=3)
    standing = only(tiny)
    assert standing.entrant == "trades/lyadeq/vanilla"
    assert (standing.defense, standing.base) == ("trades", "lyadeq/vanilla")
    assert (standing.clean, standing.weakest) == (0.75, "apgd")
    assert standing.cost == {"forward": 800.0, "vjp": 761.0, "calls": 42.0}
    assert standing.deployment["converged_adversarial"] == 0.975


def test_a_missing_column_makes_the_row_provisional(tiny):
    add(tiny, "vanilla", survivors(5))
    standing = only(tiny)
    assert not standing.complete
    assert standing.columns == {"pgd": 5 / 12, "apgd": None}
    assert standing.column_n == {"pgd": 12}


@pytest.mark.parametrize("view", ["through-solver", "defended"])
def test_a_refused_column_is_excused_where_it_attacks_a_solver_that_is_not_there(tmp_path, view):
    """A record of a plain attack on an explicit network, made a refusal, raised its rank."""
    stages = [{"attack": {"name": "apgd", "version": 1}, "surrogate": {"name": view}}]
    asked = protocol()
    asked["columns"][1]["stages"] = stages
    store = ResultStore(tmp_path)
    store.write_protocol("tiny-v1", asked)
    for chain, deployment in (("explicit", {"deployment": EXPLICIT}), ("vanilla", {})):
        add(store, chain, survivors(5), **deployment)
        add(store, chain, None, name="apgd", settings={"stages": stages}, **deployment)
    complete = {s.entrant: s.complete for s in leaderboard(store, "tiny-v1")}
    assert complete == {"explicit": view == "through-solver", "vanilla": False}


def test_a_further_attack_lowers_the_row_but_not_its_protocol_figure(tiny):
    add(tiny, "vanilla", survivors(6))
    add(tiny, "vanilla", survivors(6), name="apgd")
    assert only(tiny).external_robust is None
    add(tiny, "vanilla", survivors(6, start=2), name="square")
    standing = only(tiny)
    assert standing.protocol_robust == 6 / 12
    assert standing.external_robust == standing.robust == 4 / 12


def test_a_further_attack_on_other_images_leaves_the_rows_own_images(tiny):
    add(tiny, "vanilla", survivors(4, n=8))
    add(tiny, "vanilla", survivors(12), name="square")
    standing = only(tiny)
    assert (standing.n, standing.external_robust) == (8, 4 / 8)


def test_the_deployment_shows_the_lowest_share_that_converged(tiny):
    add(tiny, "vanilla", survivors(4))
    worse = {**DEQ, "converged_clean": 0.99, "converged_adversarial": 0.5}
    add(tiny, "vanilla", survivors(4), name="apgd", deployment=worse, flags=("unconverged",))
    assert only(tiny).deployment == worse


def test_the_earliest_run_is_the_protocols_and_a_rerun_is_external(tiny):
    add(tiny, "vanilla", survivors(6), name="apgd")
    add(tiny, "vanilla", survivors(3), run=1)
    first = add(tiny, "vanilla", survivors(6))
    standing = only(tiny)
    assert (standing.protocol_robust, standing.robust) == (6 / 12, 3 / 12)
    tiny.retract(first.stem, "wrong radius")
    assert only(tiny).protocol_robust == 3 / 12


def test_a_judged_rerun_takes_the_place_of_a_refusal(tiny):
    add(tiny, "vanilla", None)
    assert leaderboard(tiny, "tiny-v1") == []
    add(tiny, "vanilla", survivors(4), run=1)
    standing = only(tiny)
    assert (standing.columns["pgd"], standing.external_robust) == (4 / 12, None)


@pytest.mark.parametrize("settings", [{"goal": "cost"}, {"deployment": "budget-4"}])
def test_attacks_outside_the_rules_never_touch_the_figure(tiny, settings):
    add(tiny, "vanilla", survivors(6))
    add(tiny, "vanilla", survivors(0), name="sweep", settings=settings)
    assert only(tiny).robust == 6 / 12


def test_an_inference_defense_does_not_inherit_the_attacks_on_its_base(tiny):
    shared = {"checkpoint": "one training"}
    add(tiny, "vanilla", survivors(2), **shared)
    add(tiny, "early-state/vanilla", survivors(6), **shared)
    robust = {s.entrant: s.robust for s in leaderboard(tiny, "tiny-v1")}
    assert robust == {"vanilla": 2 / 12, "early-state/vanilla": 6 / 12}


def test_worst_cases_are_never_formed_across_weights(tiny):
    add(tiny, "vanilla", survivors(0), checkpoint="old", created="2026-01-01T00:00:00Z")
    add(tiny, "vanilla", survivors(6), checkpoint="new", created="2026-02-01T00:00:00Z")
    standing = only(tiny)
    assert standing.robust == 6 / 12
    assert standing.flags == ["checkpoint-changed"]


def test_two_recipes_of_one_chain_are_two_rows_told_apart(tiny):
    add(tiny, "vanilla", survivors(2))
    add(tiny, "vanilla", survivors(3), recipe={"epochs": 5})
    add(tiny, "explicit", survivors(1), recipe={"epochs": 5})
    names = [s.entrant for s in leaderboard(tiny, "tiny-v1")]
    assert names == ["vanilla [epochs=5]", "vanilla", "explicit"]


def test_what_tells_two_rows_apart_is_said_in_few_words(tiny):
    solver = {"name": "fixed-depth", "version": 1, "max_steps": 18}
    for settings in ({"solver": solver}, {}):
        add(tiny, "trades/vanilla", survivors(2), fields=settings)
    names = {s.entrant for s in leaderboard(tiny, "tiny-v1")}
    assert names == {"trades/vanilla [max_steps=18, solver=fixed-depth]", "trades/vanilla"}


def test_three_seeds_rank_and_a_clear_winner_comes_first(seeded):
    add_seeds(seeded, "vanilla", (0, 0, 1))
    add_seeds(seeded, "trades/vanilla", (11, 12, 12))
    ranks = {s.entrant: s.rank for s in leaderboard(seeded, "tiny-v1")}
    assert ranks == {"trades/vanilla": 1, "vanilla": 2}


def test_rows_that_no_test_tells_apart_share_a_rank(seeded):
    add_seeds(seeded, "vanilla", (5, 6, 7))
    add_seeds(seeded, "trades/vanilla", (6, 7, 7))
    assert [s.rank for s in leaderboard(seeded, "tiny-v1")] == [1, 1]


def test_every_further_row_raises_the_bar_for_beating_another(seeded):
    add_seeds(seeded, "vanilla", (2, 2, 3))
    add_seeds(seeded, "trades/vanilla", (6, 6, 7))
    # Welch's p is .029: enough for one pair, not among three.
    assert [s.rank for s in leaderboard(seeded, "tiny-v1")] == [1, 2]
    add_seeds(seeded, "explicit", (3, 3, 4))
    assert [s.rank for s in leaderboard(seeded, "tiny-v1")] == [1, 1, 1]


def test_two_seeds_of_three_are_incomplete_and_unranked(seeded):
    add_seeds(seeded, "vanilla", (5, 6))
    standing = only(seeded)
    assert (standing.rank, standing.complete, standing.seeds) == (None, False, 2)


def test_a_row_of_which_not_every_seed_is_audited_has_no_rank(seeded):
    # Fifteen of twenty ranked rows had been audited in no seed.
    for seed in range(3):
        add(seeded, "vanilla", survivors(6), seed=seed)
        assert only(seeded).rank is None
        if seed < 2:
            audit_all(seeded)
    assert only(seeded).audited == [0, 1]
    board = to_markdown(board_page(read_board(seeded, "tiny-v1")))
    assert "not audited (2 of 3)" in board
    audit_all(seeded)
    assert (only(seeded).rank, only(seeded).audited) == (1, [0, 1, 2])


def test_an_audit_of_other_weights_is_none_of_the_row(seeded):
    add_seeds(seeded, "vanilla", (6, 6, 6))
    add(seeded, "vanilla", survivors(6), seed=2, checkpoint="new", created="2026-02-01T00:00:00Z")
    assert (only(seeded).rank, only(seeded).audited) == (None, [0, 1])


def test_a_seed_the_protocol_does_not_ask_for_does_not_count(tiny):
    add(tiny, "vanilla", survivors(6))
    add(tiny, "vanilla", survivors(0), seed=1)
    assert only(tiny).robust == 6 / 12


def test_a_row_far_below_its_protocol_figure_loses_its_rank(seeded):
    add_seeds(seeded, "vanilla", (5, 6, 7))
    assert only(seeded).rank == 1
    add(seeded, "vanilla", survivors(0), name="square")
    assert only(seeded).rank is None


def test_a_blocking_flag_takes_the_rank_and_sinks_the_row(seeded):
    add_seeds(seeded, "trades/vanilla", (11, 12, 12), flags=("zero-gradient",))
    add_seeds(seeded, "vanilla", (0, 0, 1), flags=("unconverged",))
    first, last = leaderboard(seeded, "tiny-v1")
    assert (first.entrant, first.rank, first.flags) == ("vanilla", 1, ["unconverged"])
    assert (last.entrant, last.rank, last.blocked) == ("trades/vanilla", None, True)


def test_fewer_images_than_the_protocol_has_leave_a_row_unranked(seeded):
    for seed in range(3):
        add(seeded, "vanilla", survivors(5, n=10), seed=seed)
    standing = only(seeded)
    assert (standing.rank, standing.n, standing.complete) == (None, 10, True)


def test_columns_cut_to_the_first_images_complete_a_row_without_a_rank(seeded):
    for seed in range(3):
        add(seeded, "vanilla", survivors(3, n=5), seed=seed, settings={"images": 5})
        add(seeded, "explicit", survivors(3, n=5), seed=seed, settings={"images": 5, "k": 1})
    standing = only(seeded)
    assert (standing.entrant, standing.robust) == ("vanilla", 3 / 5)
    assert (standing.rank, standing.n, standing.complete) == (None, 5, True)


def test_one_cut_column_cuts_the_whole_row_to_its_images(tiny):
    add(tiny, "vanilla", survivors(12))
    add(tiny, "vanilla", survivors(3, n=4), name="apgd", settings={"images": 4})
    standing = only(tiny)
    assert (standing.robust, standing.n, standing.complete) == (3 / 4, 4, True)


def test_a_column_on_all_images_stands_before_its_cut_one(tiny):
    add(tiny, "vanilla", survivors(4, n=5), settings={"images": 5})
    add(tiny, "vanilla", survivors(9), run=1)
    standing = only(tiny)
    assert (standing.protocol_robust, standing.robust, standing.n) == (9 / 12, 8 / 12, 12)


def test_adding_a_record_never_raises_the_lowest_known_figure(tiny):
    rng = np.random.default_rng(0)
    add(tiny, "vanilla", rng.random(12) < 0.9)
    figures = [only(tiny).robust]
    additions = [("apgd", 0), *((f"attack-{i}", 0) for i in range(4)), ("pgd", 1), ("apgd", 1)]
    for name, run in additions:
        # A required column on fewer images would stand in for the whole one.
        n = 12 if name in ("pgd", "apgd") else int(rng.integers(6, 13))
        add(tiny, "vanilla", rng.random(n) < 0.9, name=name, run=run)
        figures.append(only(tiny).robust)
    assert figures == sorted(figures, reverse=True)
    assert figures[-1] < figures[0]


def test_no_row_exceeds_its_weakest_column(store):
    columns = ("pgd", "apgd", "square")
    store.write_protocol("tiny-v1", protocol(columns=columns))
    rng = np.random.default_rng(3)
    for i in range(8):
        for name in columns:
            add(store, f"defense-{i}/vanilla", rng.random(12) < 0.7, name=name)
    for standing in leaderboard(store, "tiny-v1"):
        assert standing.robust <= standing.columns[standing.weakest]
        assert standing.columns[standing.weakest] == min(standing.columns.values())


def test_a_record_that_contradicts_its_samples_is_refused(tiny):
    record = add(tiny, "vanilla", survivors(6))
    file = RecordFile(tiny.records / f"{record.stem}.parquet")
    edited = replace(record, robust=0.75)
    (tiny.records / f"{record.stem}.parquet").write_bytes(
        pack(edited, {"samples": file.table("samples")})
    )
    with pytest.raises(StoreError, match=r"robust is 0\.75, but its samples give 0\.5"):
        leaderboard(tiny, "tiny-v1")


def test_an_unknown_protocol_offers_the_nearest(tiny):
    with pytest.raises(UnknownName, match="did you mean 'tiny-v1'"):
        leaderboard(tiny, "tiny-v3")


@pytest.mark.parametrize(("right", "flagged"), [(2, True), (4, True), (12, False)])
def test_a_network_near_the_share_of_the_largest_class_was_not_trained(tiny, right, flagged):
    # 2 of 12 labels are the most frequent one; 4 of 12 may be luck.
    add(tiny, "vanilla", survivors(0), wrong=12 - right)
    assert ("not-trained" in only(tiny).flags) is flagged
    assert only(tiny).blocked is flagged


def test_a_newer_record_takes_back_no_view_that_another_asks_for(store):
    # The newest record alone said what a row has to be attacked through, and so could say nothing.
    template = {**column("adaptive"), "stages": [{"attack": {"name": "apgd", "version": 1}}]}
    resolved = {**protocol(columns=("pgd",)), "adaptive": template}
    store.write_protocol("tiny-v1", resolved)
    view = {"name": "straight-through", "version": 1}
    add(store, "early-state/vanilla", survivors(6), adaptive=(view,))
    assert not only(store).complete
    later = {"run": 1, "created": "2026-02-01T00:00:00Z"}
    add(store, "early-state/vanilla", survivors(6), **later)
    assert not only(store).complete
