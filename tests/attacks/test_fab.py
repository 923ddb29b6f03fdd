"""FAB: exact projections, and boundaries whose distance is known."""

from fractions import Fraction

import pytest
import torch
from scipy.optimize import linprog, minimize
from toys import Linear, ToySurface, confirmed, images

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.hyperplanes import to_hyperplane
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL = Linf(Fraction(1, 10)), L2(Fraction(1, 4))
each_norm = pytest.mark.parametrize("threat", [LINF, BALL], ids=["linf", "l2"])


def shortest(threat, x, normal, gap):
    """The norm of the smallest step within the box with <normal, step> = gap, by an optimiser."""
    x, normal = x.flatten().numpy(), normal.flatten().numpy()
    if isinstance(threat, Linf):  # over (step, t): minimise t with |step_i| <= t
        eye, ones = torch.eye(len(x)), torch.ones(len(x), 1)
        below = torch.cat([torch.cat([eye, -ones], 1), torch.cat([-eye, -ones], 1)])
        solved = linprog(
            c=[0.0] * len(x) + [1.0],
            A_ub=below.numpy(),
            b_ub=[0.0] * 2 * len(x),
            A_eq=[[*normal, 0.0]],
            b_eq=[gap],
            bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
        )
        return solved.fun
    solved = minimize(
        lambda step: step @ step,
        jac=lambda step: 2 * step,
        x0=0 * x,
        bounds=[*zip(-x, 1 - x, strict=True)],
        constraints={"type": "eq", "fun": lambda d: normal @ d - gap, "jac": lambda d: normal},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert solved.success
    return solved.fun**0.5


@each_norm
def test_the_step_to_a_hyperplane_is_the_shortest_one_that_stays_in_the_box(threat):
    x, normal = images(30, (2, 3)), Linear(30, (2, 3)).weight.reshape(30, 2, 3)
    room = torch.where(normal > 0, 1 - x, -x)
    share = torch.linspace(-0.9, 0.95, 30, dtype=x.dtype)  # of what the box allows either way
    back = torch.where(normal > 0, x, x - 1)
    gap = share.abs() * (normal * torch.where(wide(share > 0, x), room, -back)).flatten(1).sum(1)
    step = to_hyperplane(threat, x, normal, gap)
    torch.testing.assert_close((normal * step).flatten(1).sum(1), gap)
    assert (threat.distance(x, (x + step).clamp(0, 1)) == threat.distance(x, x + step)).all()
    expected = [shortest(threat, *row) for row in zip(x, normal, gap.tolist(), strict=True)]
    # the optimisers' own precision
    torch.testing.assert_close(
        threat.distance(x, x + step), torch.tensor(expected, dtype=x.dtype), rtol=1e-5, atol=1e-6
    )


@each_norm
def test_where_the_hyperplane_misses_the_box_the_step_ends_in_the_nearest_corner(threat):
    x, normal = images(4, (5,)), Linear(4, (5,)).weight
    step = to_hyperplane(threat, x, normal, torch.full((4,), 1e3, dtype=x.dtype))
    torch.testing.assert_close(x + step, (normal > 0).to(x.dtype))


@each_norm
def test_a_gradient_too_small_to_square_in_float32_leads_as_far_as_any(threat):
    x, normal = images(4, (5,)).float(), Linear(4, (5,), torch.float32).weight
    gap = torch.tensor([0.1, -0.1, 0.2, -0.2])
    step, tiny = (to_hyperplane(threat, x, scale * normal, scale * gap) for scale in (1, 1e-25))
    torch.testing.assert_close(tiny, step)


@each_norm
def test_a_row_without_a_gradient_stays(threat):
    x, zero = images(3, (5,)), torch.zeros(3, 5, dtype=torch.float64)
    gap = torch.tensor([1.0, 0.0, -1.0], dtype=x.dtype)
    assert not to_hyperplane(threat, x, zero, gap).any()


def test_a_threat_without_a_projection_is_refused():
    class Unknown(ThreatModel):
        steepest = distance = project = random_start = lambda *_: torch.empty(0)

    x = images(2, (3,))
    with pytest.raises(SpecError, match="use it with 'linf' or 'l2'"):
        to_hyperplane(Unknown(Fraction(1, 2)), x, x, x[:, 0])


@each_norm
def test_the_least_distance_of_a_linear_model_is_found_to_one_part_in_ten_thousand(threat):
    linear, x = Linear(6, (3, 4)), images(5, (3, 4))
    y = linear(x).argmax(1)
    for row in range(len(x)):
        weight, logits = linear.weight - linear.weight[y[row]], linear(x[row : row + 1])[0]
        gaps = (logits[y[row]] - logits).tolist()
        wrong = [j for j in range(6) if j != y[row]]
        nearest = min(shortest(threat, x[row], weight[j], gaps[j]) for j in wrong)
        for factor, reached in ((1 - 1e-4, False), (1 + 1e-4, True)):
            radius = type(threat)(Fraction(nearest * factor).limit_denominator(10**8))
            found = attacked(FAB(steps=8), linear, x[row : row + 1], y[row : row + 1], radius)
            assert bool(linear(found[0]).argmax(1) != y[row]) == reached


def test_a_curved_boundary_is_met_at_its_least_distance():
    """Adversarial is |x' - c|^2 > r^2; within the radius e that is sum (|x_i - c| + e)^2 > r^2."""
    x = 0.5 + 0.1 * (images(6, (8,)) - 0.5)

    def outside(x):
        score = (x - 0.5).square().sum(1) - 0.3
        return torch.stack([torch.zeros_like(score), score], 1)

    a = (x - 0.5).abs()
    mean, spare = a.mean(1), 0.3 - a.square().sum(1)
    least = -mean + (mean.square() + spare / 8).sqrt()
    for row in range(len(x)):
        # the search ends a share of (eta - 1) alpha_max beyond the boundary, then projects
        for factor, reached in ((0.999, False), (1.001, True)):
            radius = Linf(Fraction(least[row].item() * factor).limit_denominator(10**8))
            one = x[row : row + 1]
            found = attacked(FAB(steps=20), outside, one, torch.tensor([0]), radius)
            assert bool(outside(found[0]).argmax(1) == 1) == reached


def test_an_image_the_model_has_wrong_is_confirmed_as_it_is():
    linear, x = Linear(4, (6,)), images(5, (6,))
    y = linear(x).argmax(1)
    y[2] = (y[2] + 1) % 4
    surface = ToySurface(linear)
    found = FAB(steps=1, targets=1).perturb(
        confirmed(surface), Samples(x, y, torch.arange(5)), LINF, NoiseStream(0)
    )
    assert surface.asked[0][0] == [2]
    assert torch.equal(found[0, 2], x[2])


@each_norm
def test_a_deployed_boundary_beyond_the_surrogates_is_reached(threat):
    """The deployed predictor gives its label a handicap of 0.3: success is a margin above that."""
    linear, x = Linear(2, (3, 4)), 0.3 + 0.4 * images(40, (3, 4))
    y = linear(x).argmax(1)
    handicap = 0.3 * torch.nn.functional.one_hot(y, 2)
    slope = (linear.weight[1] - linear.weight[0]).abs()
    reach = 0.1 * slope.sum() if threat is LINF else 0.25 * slope.norm()  # the box does not bind
    gap = (linear(x)[:, 0] - linear(x)[:, 1]).abs()
    possible = gap + 0.3 < 0.99 * reach
    assert possible.any()
    assert not possible.all()

    def fooled(samples):
        logits = linear(samples.images) + handicap[samples.positions]
        return logits.argmax(1) != samples.labels

    samples = Samples.of(x, y)
    approach = Approach(ToySurface(linear), fooled)
    found = FAB(steps=40).perturb(approach, samples, threat, NoiseStream(0))
    assert fooled(samples.moved(found[0]))[possible].all()


def test_more_targets_than_wrong_classes_are_the_wrong_classes():
    linear, x = Linear(3, (4,)), images(5, (4,))
    y = linear(x).argmax(1)
    two, nine = (attacked(FAB(steps=6, targets=k), linear, x, y, LINF) for k in (2, 9))
    assert torch.equal(two, nine)


def test_a_start_costs_a_gradient_a_step_and_one_value():
    linear, x = Linear(4, (6,)), images(5, (6,))
    y = linear(x).argmax(1)
    surface = never_fooled(linear)
    FAB(steps=7, targets=3, restarts=2).perturb(
        Approach(surface), Samples(x, y, torch.arange(5)), LINF, NoiseStream(0)
    )
    assert surface.cost.counts == {"forward": 5 * (1 + 3 * 2 * (7 + 1)), "vjp": 5 * 3 * 2 * 7}


def test_numbers_that_are_none_move_no_pixel():
    x, y = images(3, (4,)), torch.zeros(3, dtype=torch.int64)
    found = FAB(steps=3, targets=1).perturb(
        Approach(never_fooled(lambda x: x[:, :2] * float("nan"))),
        Samples(x, y, y + 1),
        LINF,
        NoiseStream(0),
    )
    assert torch.equal(found, x.expand(3, 3, 4))


@pytest.mark.parametrize(
    "fields", [{"alpha_max": 1.5}, {"beta": -0.1}, {"eta": 0.9}, {"eta": float("nan")}]
)
def test_a_weight_that_makes_no_sense_is_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(SpecError, match=f"{name} = {value}"):
        FAB(**fields)


def wide(values, like):
    return values.reshape(-1, *[1] * (like.ndim - 1))


def never_fooled(logits):
    surface = ToySurface(logits)
    return surface


def attacked(attack, logits, x, y, threat):
    rows = torch.arange(len(x))
    return attack.perturb(
        confirmed(ToySurface(logits)), Samples(x, y, rows), threat, NoiseStream(0)
    )
