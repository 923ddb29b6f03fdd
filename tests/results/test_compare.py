import numpy as np
import pytest

from robustdeq.errors import SpecError, UnknownName
from robustdeq.results.boards.compare import compare
from robustdeq.results.boards.statistics import newcombe, newcombe_p
from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.reports.comparison import report
from robustdeq.results.store.protocol import derived_column
from robustdeq.results.text import p_value

from .examples import add, column, protocol, survivors, tiny_store


@pytest.fixture
def seeded(store):
    store.write_protocol("tiny-v1", protocol(seeds=(0, 1, 2), columns=("pgd",)))
    for seed in range(3):
        add(store, "vanilla", survivors(seed // 2), seed=seed)
        add(store, "trades/vanilla", survivors(11 + seed // 2), seed=seed)
        shared = {"checkpoint": f"vanilla {seed}", "seed": seed}
        add(store, "explicit", survivors(4 + seed), **shared)
        add(store, "early-state/explicit", survivors(6 + seed), **shared)
    return store


def test_one_seed_compares_checkpoints_and_says_so(tmp_path):
    store = tiny_store(tmp_path)
    pair = compare(store, "tiny-v1", "trades/vanilla", "explicit")
    # trades keeps images 1 to 6 (the first is lost to apgd), explicit 0 and 1.
    assert (pair.only_a, pair.only_b, pair.n, pair.seeds) == (5, 1, 12, 1)
    assert pair.difference == pytest.approx(4 / 12)
    assert pair.p == newcombe_p(1, 5, 1, 5)
    assert pair.interval == newcombe(1, 5, 1, 5)
    assert pair.tied
    assert "compares checkpoints, not defenses" in pair.method


def test_three_seeds_compare_defenses(seeded):
    pair = compare(seeded, "tiny-v1", "trades/vanilla", "vanilla")
    assert pair.difference == pytest.approx((34 - 1) / 36)
    assert pair.interval.low < pair.difference < pair.interval.high
    assert pair.only_a - pair.only_b == pytest.approx(pair.difference * pair.n)
    assert not pair.tied
    assert pair.method.startswith("Welch's t test between defenses with 3 training seeds")


def test_shared_weights_are_compared_pairwise(seeded):
    pair = compare(seeded, "tiny-v1", "early-state/explicit", "explicit")
    assert pair.method.startswith("Paired t test, over shared weights")
    assert pair.difference == pytest.approx(2 / 12)


def test_no_row_loses_by_being_attacked_alone(seeded):
    before = compare(seeded, "tiny-v1", "early-state/explicit", "explicit")

    def attack(chain, count, seed):
        shared = {"checkpoint": f"vanilla {seed}", "seed": seed}
        add(seeded, chain, survivors(count), name="square", **shared)

    for seed in range(3):
        attack("explicit", 1, seed)
    assert compare(seeded, "tiny-v1", "early-state/explicit", "explicit") == before
    attack("early-state/explicit", 2, 0)
    attack("early-state/explicit", 2, 1)
    assert compare(seeded, "tiny-v1", "early-state/explicit", "explicit") == before
    attack("early-state/explicit", 2, 2)
    after = compare(seeded, "tiny-v1", "early-state/explicit", "explicit")
    assert after.difference == pytest.approx(1 / 12)


def test_an_attack_through_what_only_one_does_at_inference_counts(seeded):
    view = {"name": "straight-through", "version": 1}
    for seed in range(3):
        settings = {"checkpoint": f"vanilla {seed}", "seed": seed, "adaptive": (view,)}
        through = derived_column(column("adaptive"), view)
        add(seeded, "early-state/explicit", survivors(3), settings=through, **settings)
    pair = compare(seeded, "tiny-v1", "early-state/explicit", "explicit")
    assert pair.difference == pytest.approx((3 - 5) / 12)


def test_the_order_of_the_two_only_turns_the_signs(seeded):
    one = compare(seeded, "tiny-v1", "trades/vanilla", "vanilla")
    other = compare(seeded, "tiny-v1", "vanilla", "trades/vanilla")
    assert other.difference == -one.difference
    assert other.interval == pytest.approx((-one.interval.high, -one.interval.low))
    assert (other.only_a, other.only_b, other.p) == (one.only_b, one.only_a, one.p)


def test_rows_on_different_images_meet_on_the_common_ones(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    add(store, "vanilla", np.arange(12) >= 6)
    add(store, "explicit", np.arange(8) >= 4)
    pair = compare(store, "tiny-v1", "vanilla", "explicit")
    assert (pair.n, pair.only_a, pair.only_b) == (8, 0, 2)
    assert pair.difference == -2 / 8


def test_checkpoints_of_a_common_training_seed_are_preferred(store):
    store.write_protocol("tiny-v1", protocol(seeds=(0, 1, 2), columns=("pgd",)))
    for chain, seeds in (("vanilla", (1, 2)), ("explicit", (0, 1))):
        for seed in seeds:
            add(store, chain, survivors(3 + seed), seed=seed)
    pair = compare(store, "tiny-v1", "vanilla", "explicit")
    assert pair.difference == 0.0
    assert "training seeds 1 and 1" in pair.method


def test_an_unknown_entrant_offers_the_nearest(seeded):
    with pytest.raises(UnknownName, match="did you mean 'trades/vanilla'"):
        compare(seeded, "tiny-v1", "trades/vanila", "vanilla")


def test_an_entrant_is_not_compared_with_itself(seeded):
    with pytest.raises(SpecError, match="name two entrants"):
        compare(seeded, "tiny-v1", "vanilla", "vanilla")


def test_a_report_gives_every_pair_a_verdict_and_every_column_a_line(seeded):
    text = to_markdown(report(seeded, "tiny-v1", ["trades/vanilla", "vanilla", "explicit"]))
    assert text.count(" against ") == 3
    assert "trades/vanilla keeps 91.7 points more robust accuracy than vanilla" in text
    assert "p (Holm) is adjusted for 3 comparisons" in text
    lines = text.splitlines()
    assert next(line for line in lines if line.startswith("| pgd")).split("|")[2:5] == [
        "           94.4 ",
        "         2.8 ",
        "         41.7 ",
    ]


def test_a_report_says_tied_when_the_test_does(tmp_path):
    store = tiny_store(tmp_path)
    text = to_markdown(report(store, "tiny-v1", ["trades/vanilla", "explicit"]))
    assert "trades/vanilla and explicit are tied" in text
    assert "(p = 0.083)" in text
    assert "`unconverged` (note)" in text


def test_a_verdict_is_that_of_the_interval_beside_it(store):
    store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    for chain, count in (("vanilla", 2), ("trades/vanilla", 8), ("explicit", 3)):
        add(store, chain, survivors(count))
    # "Tied" after Holm stood beside an interval that left out 0.
    pair = compare(store, "tiny-v1", "trades/vanilla", "vanilla")
    told = "trades/vanilla keeps 50.0 points more robust accuracy than vanilla"
    for others in ([], ["explicit"]):
        text = to_markdown(report(store, "tiny-v1", ["trades/vanilla", "vanilla", *others]))
        assert f"{told} ({p_value(pair.p)})" in text
    assert pair.interval.low > 0
    assert p_value(3 * pair.p) in text
    assert "p (Holm) is adjusted for 3 comparisons" in text


def test_a_report_needs_two_entrants(seeded):
    with pytest.raises(SpecError, match="at least two entrants"):
        report(seeded, "tiny-v1", ["vanilla"])
