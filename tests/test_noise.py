import math

import pytest
import torch
from scipy import stats

from robustdeq.noise import NoiseStream

WORD = (1 << 64) - 1
GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ROWS = torch.tensor([0, 1, 2, 3, 17, 499])


def mix(word):
    word = ((word ^ (word >> 30)) * MIX_1) & WORD
    word = ((word ^ (word >> 27)) * MIX_2) & WORD
    return word ^ (word >> 31)


def reference(seed, row, draw, element):
    """The keyed generator in Python's own integers."""
    key = mix(((row + 1) * GOLDEN + seed) & WORD)
    key = mix((key + (draw + 1) * MIX_1) & WORD)
    return mix((key + (element + 1) * GOLDEN) & WORD)


def test_the_mixer_is_that_of_the_published_splitmix64():
    # the first outputs of SplitMix64 for the seed 1234567
    outputs = [mix((1234567 + i * GOLDEN) & WORD) for i in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1])
@pytest.mark.parametrize("draw", [0, 5, 10**6])
def test_the_bits_are_the_keyed_generator_in_exact_integers(seed, draw):
    bits = NoiseStream(seed).bits(ROWS, draw, 3)
    expected = [[reference(seed, row, draw, e) for e in range(3)] for row in ROWS.tolist()]
    assert [[word & WORD for word in row] for row in bits.tolist()] == expected


def test_the_draws_never_change():
    noise = NoiseStream(7).child("attack", 2)
    rows = torch.tensor([0, 5])
    assert noise.seed == 7989607664513151796
    assert (noise.uniform(rows, 3) * 2**24).tolist() == [11291128.0, 2275341.0]
    assert noise.integers(rows, 3, 1000, (2,)).tolist() == [[673, 248], [135, 898]]
    assert noise.permutation(8).tolist() == [4, 6, 2, 3, 7, 5, 0, 1]


DRAWS = {
    "uniform": lambda noise, rows: noise.uniform(rows, 4, (2, 3)),
    "normal": lambda noise, rows: noise.normal(rows, 4, (2, 3)),
    "integers": lambda noise, rows: noise.integers(rows, 4, 10, (2, 3)),
    "signs": lambda noise, rows: noise.signs(rows, 4, (2, 3)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_gets_the_same_numbers_in_any_batch_and_any_order(draw):
    noise = NoiseStream(3)
    together = draw(noise, ROWS)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    alone = torch.cat([draw(noise, row[None]) for row in ROWS])
    torch.testing.assert_close(draw(noise, ROWS[order]), together[order], rtol=0, atol=0)
    torch.testing.assert_close(alone, together, rtol=0, atol=0)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_shape_is_batch_first_also_for_no_rows(draw):
    assert draw(NoiseStream(3), ROWS).shape == (6, 2, 3)
    assert draw(NoiseStream(3), ROWS[:0]).shape == (0, 2, 3)


def test_seed_row_draw_element_and_child_each_give_other_numbers():
    noise = NoiseStream(0)
    streams = [noise, NoiseStream(1), noise.child("a"), noise.child("b"), noise.child("a", "b")]
    streams += [noise.child("a").child("b"), noise.child("ab")]
    words = [s.bits(torch.arange(50), draw, 20).flatten() for s in streams for draw in range(5)]
    assert torch.cat(words).unique().numel() == len(streams) * 5 * 50 * 20


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    for draw in DRAWS.values():
        draw(NoiseStream(0), ROWS)
    NoiseStream(0).permutation(10)
    assert torch.equal(torch.get_rng_state(), before)


# The statistical tests have fixed seeds, so they are facts and cannot flicker; 0.001 leaves room
# for the number of tests, while a generator that repeats or clusters fails at 1e-10.
def along_rows(noise):
    return noise.uniform(torch.arange(20_000), 0)


def along_draws(noise):
    return torch.cat([noise.uniform(torch.zeros(1, dtype=torch.int64), d) for d in range(2_000)])


def along_elements(noise):
    return noise.uniform(torch.tensor([11]), 0, (20_000,))[0]


@pytest.mark.parametrize("axis", [along_rows, along_draws, along_elements])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_uniform_draws_are_uniform_and_uncorrelated_along_every_key(axis, seed):
    u = axis(NoiseStream(seed)).double().numpy()
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert stats.pearsonr(u[1:], u[:-1]).pvalue > 0.001


def test_neighbouring_rows_are_jointly_uniform():
    u = NoiseStream(0).uniform(torch.arange(40_001), 0)
    cells = (u[:-1] * 16).long() * 16 + (u[1:] * 16).long()
    # every second pair, because overlapping pairs are not independent
    assert stats.chisquare(cells[::2].bincount(minlength=256)).pvalue > 0.001


def test_every_bit_of_a_word_is_a_fair_coin():
    words = NoiseStream(5).bits(torch.arange(10_000), 0, 1)[:, 0]
    ones = torch.stack([(words >> bit) & 1 for bit in range(64)]).double().mean(1)
    # 64 means of 10,000 fair coins: five standard deviations
    assert (ones - 0.5).abs().max() < 5 * 0.5 / math.sqrt(10_000)


def test_normal_draws_are_normal():
    z = NoiseStream(0).normal(torch.arange(5_000), 0, (4,)).flatten().double().numpy()
    assert stats.kstest(z, "norm").pvalue > 0.001


def test_integers_and_signs_hit_every_value_equally_often():
    rows = torch.arange(30_000)
    assert stats.chisquare(NoiseStream(0).integers(rows, 0, 7).bincount()).pvalue > 0.001
    signs = NoiseStream(0).signs(rows, 1)
    assert signs.unique().tolist() == [-1.0, 1.0]
    assert stats.binomtest(int((signs > 0).sum()), len(rows)).pvalue > 0.001


def test_a_permutation_holds_every_index_once_and_differs_by_draw():
    orders = [NoiseStream(0).permutation(1000, draw) for draw in range(2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(*orders)


@pytest.mark.gpu
def test_integer_draws_are_bitwise_the_same_on_a_gpu():
    for draw in (DRAWS["uniform"], DRAWS["integers"], DRAWS["signs"]):
        here, there = (draw(NoiseStream(3), ROWS.to(device)) for device in ("cpu", "cuda"))
        assert torch.equal(here, there.cpu())
