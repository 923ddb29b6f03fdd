"""Square: what it proposes, when it shrinks, what it finds."""

from fractions import Fraction

import pytest
import torch
from toys import Linear, ToySurface, confirmed, images

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.square import Square
from robustdeq.attacks.squares import DRAWS, first_guess, next_guess
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import View
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL = Linf(Fraction(1, 10)), L2(Fraction(1, 2))
ROWS, NOISE = torch.arange(40), NoiseStream(3)


def grey(height, width, channels=2):
    return torch.full((40, channels, height, width), 0.5)


def test_the_window_shrinks_by_the_schedule_of_its_authors_rescaled_to_the_budget():
    full, tenth = Square(queries=10_000), Square(queries=1_000)
    shares = [full.window_share(query) for query in (0, 10, 11, 50, 51, 8001, 9999)]
    assert shares == [0.8, 0.8, 0.4, 0.4, 0.2, 0.8 / 512, 0.8 / 512]
    assert [tenth.window_share(query) for query in (1, 2, 5, 6, 999)] == [
        *(0.8, 0.4, 0.4, 0.2),
        0.8 / 512,
    ]


def test_linf_starts_with_vertical_stripes_at_the_radius():
    delta = first_guess(LINF, grey(5, 7), ROWS, NOISE) - 0.5
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 0.1))
    assert (delta == delta[:, :, :1]).all()
    assert len({tuple(row.tolist()) for row in delta[:, 0, 0]}) > 20


def test_linf_changes_one_square_window_and_always_something():
    x = grey(5, 7)
    start = first_guess(LINF, x, ROWS, NOISE)
    guess = next_guess(LINF, x, start, 3, NOISE.uniform(ROWS, 1, (DRAWS + 2,)))
    changed = (guess != start).any(1)
    assert changed.flatten(1).any(1).all()
    for row in changed:
        height, width = (row.any(axis).nonzero().flatten() for axis in (1, 0))
        assert height[-1] - height[0] < 3
        assert width[-1] - width[0] < 3
    corners = {tuple(row.nonzero()[0].tolist()) for row in changed}
    assert len(corners) > 5  # each row has a window of its own


def test_linf_never_spends_a_query_on_the_same_point():
    x = grey(4, 4, channels=1)
    start = first_guess(LINF, x, ROWS, NOISE)
    guess = next_guess(LINF, x, start, 1, NOISE.uniform(ROWS, 1, (DRAWS + 1,)))
    assert ((guess != start).flatten(1).sum(1) == 1).all()


def test_l2_moves_the_mass_of_the_second_window_into_the_first():
    x = grey(6, 6, channels=1)
    start = first_guess(BALL, x, ROWS, NOISE)
    corners = torch.tensor([0.0, 0.0, 0.999, 0.999, 0.2, 0.7]).expand(40, -1)
    delta = (next_guess(BALL, x, start, 3, corners) - x)[:, 0]
    before = (start - x)[:, 0]
    assert delta[:, 3:, 3:].abs().max() == 0
    torch.testing.assert_close(delta[:, :3, 3:], before[:, :3, 3:])
    torch.testing.assert_close(delta[:, 3:, :3], before[:, 3:, :3])
    mass = before[:, :3, :3].square().sum((1, 2)) + before[:, 3:, 3:].square().sum((1, 2))
    torch.testing.assert_close(delta[:, :3, :3].square().sum((1, 2)), mass)


def test_l2_guesses_lie_on_the_sphere_where_the_box_does_not_bind():
    for height, width in ((5, 7), (8, 8), (3, 2)):
        x = grey(height, width)
        start = first_guess(BALL, x, ROWS, NOISE)
        guess = next_guess(BALL, x, start, 3, NOISE.uniform(ROWS, 1, (DRAWS + 2,)))
        radius = torch.full((40,), 0.5)
        torch.testing.assert_close(BALL.distance(x, start), radius)
        torch.testing.assert_close(BALL.distance(x, guess), radius)
        assert (guess != start).flatten(1).any(1).all()


def share_of_the_best_gain(threat, shape, queries, worst):
    """How much of the closed-form gain in margin the search reaches on a binary linear model."""
    linear, x = Linear(2, shape), 0.3 + 0.4 * images(6, shape)
    y = linear(x).argmax(1)
    surface = ToySurface(linear)
    found = Square(queries=queries).perturb(
        Approach(surface), Samples(x, y, torch.arange(6)), threat, NoiseStream(0)
    )
    clean = Margin()(View(linear(x)), y)
    best = worst(linear, x, y, float(threat.eps))
    return (Margin()(View(linear(found[0])), y) - clean) / (best - clean)


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 6, 4)])
def test_square_comes_close_to_the_worst_corner_of_the_linf_ball(shape):
    gain = share_of_the_best_gain(LINF, shape, 1200, Linear.worst_margin_linf)
    assert gain.min() > 0.95  # random search: the last single pixels take long


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 6, 4)])
def test_square_gains_in_the_l2_ball_what_no_random_point_does(shape):
    gain = share_of_the_best_gain(L2(Fraction(1, 4)), shape, 300, Linear.worst_margin_l2)
    # a random direction gains 0.2 or less; windows of 3 x 3 cannot follow white noise to the end
    assert gain.min() > 0.4


def test_a_broken_row_is_not_queried_again():
    linear, x = Linear(2, (1, 4, 4)), images(20, (1, 4, 4))
    y = linear(x).argmax(1)
    surface = ToySurface(linear)
    Square(queries=50).perturb(
        confirmed(surface), Samples(x, y, torch.arange(20)), LINF, NoiseStream(0)
    )
    broken = [row for rows, _ in surface.asked for row in rows]
    assert len(broken) == len(set(broken)) > 0
    assert surface.cost.counts["forward"] < 20 * 50


def test_input_that_is_no_image_is_refused():
    linear, x = Linear(2, (4,)), images(2, (4,))
    with pytest.raises(SpecError, match="use 'apgd'"):
        Square().perturb(
            confirmed(ToySurface(linear)),
            Samples(x, linear(x).argmax(1), torch.arange(2)),
            LINF,
            NoiseStream(0),
        )


def test_a_first_window_larger_than_the_image_is_refused():
    with pytest.raises(SpecError, match="p_init"):
        Square(p_init=1.5)
