"""The audits that attack: against a rerun, twice the budget, and over the radius."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from planted import Detached, flipped, wrapped

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.rays import RayS
from robustdeq.attacks.square import Square
from robustdeq.audits.black_box import BlackBox, glance
from robustdeq.audits.budget import Budget, doubled
from robustdeq.audits.chance import exceeds, falls_short, settled
from robustdeq.audits.noise import Noise
from robustdeq.audits.outsiders import against_rerun, beats, broken_by, could_count
from robustdeq.audits.radius import Radius
from robustdeq.audits.sampling import corner
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.union import black_box
from robustdeq.noise import NoiseStream
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

WIDE = Fraction(1, 3)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A union of one short attack each, so that the tests take seconds."""
    white, black = (Stage(PGD(steps=8)),), (Stage(Square(queries=60)),)
    monkeypatch.setattr("robustdeq.audits.outsiders.white_box", lambda target, randomised: white)
    monkeypatch.setattr("robustdeq.audits.outsiders.every_target", lambda target: ())
    monkeypatch.setattr("robustdeq.audits.black_box.black_box", lambda: black)


class TestChance:
    def test_tails_are_the_sums_of_the_binomial(self):
        assert exceeds(3, 3, 0.5) == pytest.approx(1 / 8)
        assert exceeds(0, 3, 0.5) == 1.0
        assert falls_short(1, 3, 0.5) == pytest.approx(1 / 2)

    def test_nothing_against_nothing_is_no_difference(self):
        assert beats(0, 0, 10) == (0.0, 1.0)

    def test_seven_to_none_is_the_first_that_is_no_chance(self):
        difference, p = beats(7, 0, 100)
        assert difference == pytest.approx(0.07)
        assert p == pytest.approx(1 / 128)
        assert beats(6, 0, 100)[1] > 0.01

    def test_what_a_rerun_adds_as_well_is_no_surplus(self):
        difference, p = beats(30, 25, 500)
        assert difference == pytest.approx(0.01)
        assert p > 0.2
        assert beats(5, 9, 100)[0] < 0

    def test_a_surplus_can_count_from_seven_images_on(self):
        assert [could_count(7, 25), could_count(6, 25), could_count(7, 1000)] == [
            True,
            False,
            False,
        ]

    def test_a_test_is_settled_where_too_few_are_left_to_fail_it(self):
        """Five misses of 24 are too many for a share of 95 % to be chance, and four are not."""
        assert falls_short(19, 24, 0.95) <= 0.01 < falls_short(20, 24, 0.95)
        assert settled(2, 22, 24, 0.95)
        assert not settled(4, 23, 24, 0.95)

    def test_and_where_it_would_hardly_have_looked_so_good(self):
        """Were 5 of 24 misses, ten images without one would be one draw in 22, nine one in 14."""
        assert settled(0, 10, 24, 0.95)
        assert not settled(0, 9, 24, 0.95)
        assert not settled(1, 10, 24, 0.95)


class TestGlance:
    """An outsider's budget is spent where a fraction of it has shown why."""

    @pytest.fixture
    def asked(self, case, honest):
        """(images that stand, of these broken at a glance) -> who was asked for all of it."""

        def ask(stood, found):
            left = torch.arange(32) < stood
            given = replace(case(honest, images=32), left=left.double())
            whole = []

            def all_of_it(standing):
                whole.append(int(standing.sum()))
                return torch.zeros(32)

            broken = broken_by(
                given, "search", lambda standing: (standing & (torch.arange(32) >= found)).double(),
                all_of_it,
            )  # fmt: skip
            return whole, int(broken.sum())

        return ask

    def test_two_images_are_suspicious_and_then_all_is_spent_on_the_others(self, asked):
        assert asked(stood=18, found=2) == ([16], 18)

    def test_one_is_not(self, asked):
        assert asked(stood=18, found=1) == ([], 1)

    def test_where_less_than_seven_stand_nothing_could_count(self, asked):
        assert asked(stood=6, found=4) == ([], 4)

    def test_it_is_a_sixteenth_of_the_queries_of_searches_and_of_differences(self):
        for stage in black_box():
            attack, view = glance(stage).attack, glance(stage).surrogate
            if isinstance(attack, Square | RayS):
                assert (attack.queries, attack.restarts) == (125, 1)
            else:
                assert (attack, view.directions) == (stage.attack, 4)

    def test_no_rerun_is_made_for_what_could_not_count(self, honest, case):
        left = torch.ones(16).double()
        measure = against_rerun(
            replace(case(honest), left=left), "noise-beats-attack", "noise", torch.arange(16) < 6
        )
        assert (measure.value, measure.raised, measure.p) == (6 / 16, False, pytest.approx(1 / 64))
        assert "another seed" not in measure.detail


class TestOutsiders:
    @pytest.mark.parametrize("audit", [Noise(points=40), BlackBox()], ids=["noise", "black-box"])
    @pytest.mark.parametrize("eps", [Fraction(1, 8), WIDE])
    def test_neither_noise_nor_a_black_box_beats_an_honest_gradient(self, honest, case, audit, eps):
        (measure,) = audit.examine(case(honest, eps))
        assert not measure.raised
        assert measure.value <= 0.01

    @pytest.mark.parametrize("bad", [flipped, lambda target: wrapped(Detached, target)])
    def test_a_black_box_beats_a_gradient_that_is_wrong_or_missing(self, honest, case, bad):
        (measure,) = BlackBox().examine(case(bad(honest), WIDE))
        assert measure.raised
        assert measure.flag == "black-box-beats-white-box"
        assert "another seed of the union" in measure.detail

    def test_noise_beats_a_gradient_of_the_wrong_sign(self, honest, case):
        wide = case(flipped(honest), Fraction(1, 2), images=32)
        (measure,) = Noise(points=200).examine(wide)
        assert measure.raised
        assert measure.flag == "noise-beats-attack"

    def test_a_corner_is_on_the_boundary_of_either_ball(self):
        x, rows = torch.full((4, 1, 3, 3), 0.5), torch.arange(4)
        for threat in (Linf(Fraction(1, 8)), L2(Fraction(1, 4))):
            found = corner(threat, x, rows, NoiseStream(0))
            torch.testing.assert_close(
                threat.distance(x, found), torch.full((4,), float(threat.eps))
            )
            assert threat.contains(x, found).all()


class TestBudget:
    def test_an_attack_that_had_finished_gains_nothing(self, honest, case):
        (measure,) = Budget().examine(case(honest, WIDE))
        assert (measure.value, measure.raised) == (0.0, False)

    def test_an_attack_that_stops_half_way_gains(self, honest, case, monkeypatch):
        short = (Stage(PGD(steps=2, step=Fraction(1, 8), random_start=False)),)
        monkeypatch.setattr(
            "robustdeq.audits.outsiders.white_box", lambda target, randomised: short
        )
        (measure,) = Budget().examine(case(honest, WIDE))
        assert measure.raised
        assert "another seed of the union 0" in measure.detail

    def test_steps_restarts_and_queries_are_doubled_and_nothing_else(self):
        assert doubled(APGD(steps=30, targets=3)) == APGD(steps=60, restarts=2, targets=3)
        assert doubled(Square(queries=500)) == Square(queries=1000, restarts=2)
        assert doubled(FAB(steps=3)) == FAB(steps=6, restarts=2 * FAB().restarts)


class TestRadius:
    def test_an_honest_network_falls_to_nothing_and_never_rises(self, honest, case):
        zero, monotone = Radius(steps=6).examine(case(honest))
        assert (zero.value, zero.raised) == (0.0, False)
        assert zero.limit == 0.25
        assert (monotone.value, monotone.raised) == (0.0, False)

    @pytest.mark.parametrize("bad", [flipped, lambda target: wrapped(Detached, target)])
    def test_a_gradient_that_is_wrong_or_missing_leaves_more_than_chance(self, honest, case, bad):
        zero, _ = Radius(steps=2).examine(case(bad(honest)))
        assert zero.raised
        assert zero.flag == "eps-sweep-not-zero"

    def test_a_rise_with_the_radius_is_a_note(self, honest, case, monkeypatch):
        """16 right at 0; the attack finds 8 of them, and at twice the radius 4 fewer."""
        left = {Fraction(1, 4): 12, Fraction(1, 2): 0}

        def remaining(case, stages):
            right = left.get(case.threat.eps, 8) if stages else 16
            return (torch.arange(16) < right).double()

        monkeypatch.setattr("robustdeq.audits.radius.remaining", remaining)
        zero, monotone = Radius().examine(case(honest))
        assert not zero.raised
        assert (monotone.value, monotone.raised) == (0.25, True)
