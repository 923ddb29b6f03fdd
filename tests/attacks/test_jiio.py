"""JIIO: joint rounds that stay in the threat set, one visit each, and find what PGD finds."""

from fractions import Fraction

import pytest
import torch
from toys import ToySurface, confirmed, conv_net, images

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.defenses.base import Batch, DefendedModel, Defense
from robustdeq.defenses.jiio_training import JIIOTraining
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import View
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.spec import decode
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.fast import FastSurface
from robustdeq.testing.toys import tiny_deq, toy_images
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL = Linf(Fraction(1, 10)), L2(Fraction(3, 5))
NOISE = NoiseStream(1)
SMALL, EVERY = JIIO(rounds=8), torch.arange(8)
every_threat = pytest.mark.parametrize("threat", [LINF, BALL], ids=["linf", "l2"])


def on_toys(attack, part=EVERY, threat=LINF, noise=NOISE):
    """The candidates of a search on a small network, of some of its images."""
    net, x = conv_net(), images(8, (2, 8, 6))
    y, rows = net(x).argmax(1), torch.arange(8) + 100
    surface = ToySurface(net)
    return attack.perturb(Approach(surface), Samples(x[part], y[part], rows[part]), threat, noise)


def joint_setting(count=6):
    model = tiny_deq().double().eval().requires_grad_(False)
    x = toy_images(count).images.double()
    return model, x, model.predict(x).labels, torch.arange(count)


def margins(model, x, y):
    """Of the deployed predictor, cold."""
    return Margin()(View(model.predict(x).logits), y)


@every_threat
def test_no_row_depends_on_its_peers_or_its_place(threat):
    whole = on_toys(SMALL, threat=threat)
    for part in (torch.tensor([5]), torch.tensor([6, 1, 3])):
        # float64: a convolution's sums depend on the batch in their last bits
        torch.testing.assert_close(on_toys(SMALL, part, threat), whole[:, part], rtol=0, atol=1e-9)


def test_the_seed_moves_a_random_start_and_nothing_else():
    again, other = on_toys(SMALL), on_toys(SMALL, noise=NoiseStream(2))
    assert torch.equal(on_toys(SMALL), again)
    assert not torch.equal(other, again)
    still = JIIO(rounds=8, random_start=False)
    assert torch.equal(on_toys(still), on_toys(still, noise=NoiseStream(2)))


def test_the_step_shrinks_after_five_eighths_of_the_rounds():
    wide, narrow = Fraction(3, 5), Fraction(1, 5)
    assert JIIO().steps() == [wide] * 50 + [narrow] * 30
    assert JIIO(rounds=1).steps() == [wide]


def test_with_one_step_size_on_plain_logits_it_is_pgd():
    attack = JIIO(rounds=6, step=Fraction(1, 4), final_step=Fraction(1, 4), random_start=False)
    pgd = PGD(steps=6, step=Fraction(1, 4), random_start=False)
    assert torch.equal(on_toys(attack), on_toys(pgd))


@every_threat
def test_state_adjoint_and_input_share_one_evaluation_and_one_product_a_round(threat):
    model, x, y, rows = joint_setting()
    costs = []
    for rounds in (8, 9):
        surface = FastSurface(model)
        JIIO(rounds=rounds).perturb(Approach(surface), Samples(x, y, rows), threat, NOISE)
        costs.append(surface.cost.counts)
    for count in ("forward", "vjp"):
        assert costs[1][count] - costs[0][count] == len(x)
    assert costs[0]["vjp"] == (8 + 1) * len(x)


@every_threat
@pytest.mark.parametrize("surface", [FastSurface, EquilibriumSurface])
def test_the_deployed_margin_rises_inside_the_threat_set(surface, threat):
    model, x, y, rows = joint_setting()
    found = JIIO(rounds=10).perturb(Approach(surface(model)), Samples(x, y, rows), threat, NOISE)
    assert all(threat.contains(x, candidate).all() for candidate in found)
    assert (margins(model, found[1], y) > margins(model, x, y)).all()


def test_the_joint_search_ends_where_the_exact_one_does():
    model, x, y, rows = joint_setting()
    joint, exact = (
        margins(
            model, JIIO().perturb(Approach(surface(model)), Samples(x, y, rows), LINF, NOISE)[1], y
        )
        for surface in (FastSurface, EquilibriumSurface)
    )
    # of the way from the clean margin; both take steps of one fifth of the radius to the end
    gain = (joint - margins(model, x, y)) / (exact - margins(model, x, y))
    assert (gain - 1).abs().max() < 0.02


def test_a_confirmed_row_is_left_alone():
    net, x = conv_net(), images(8, (2, 8, 6))
    surface = ToySurface(net)
    SMALL.perturb(
        confirmed(surface), Samples(x, (net(x).argmax(1) + 1) % 4, torch.arange(8)), LINF, NOISE
    )
    assert surface.cost.counts["forward"] == len(x)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("rounds", 0, "attack 'jiio': rounds = 0"),
        ("step", Fraction(0), "step = 0; expected a positive fraction of the radius"),
        ("final_step", Fraction(-1, 5), "final_step = -1/5; expected a positive fraction"),
    ],
)
def test_a_field_that_makes_no_search_is_refused(field, value, complaint):
    with pytest.raises(SpecError, match=complaint):
        JIIO(**{field: value})


def test_jiio_training_trains_on_what_the_attack_finds():
    defense, (model, x, y, rows) = JIIOTraining(Vanilla()), joint_setting()
    target, noise = DefendedModel(defense, model, {}), NOISE.at(rows)
    crafted = defense.craft(target, Batch(x, y, rows, LINF), noise, {})
    assert LINF.contains(x, crafted).all()
    assert (margins(model, crafted, y) > margins(model, x, y)).all()


def test_jiio_training_on_another_attack_is_refused_where_it_is_written():
    table = {"name": "jiio-training", "base": "vanilla", "attack": "pgd"}
    with pytest.raises(SpecError, match="attack 'pgd'; expected 'jiio'"):
        decode(Defense, table)
