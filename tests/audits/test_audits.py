"""Every audit: silent on an honest network, and raised by the one thing that it looks for."""

import pytest
import torch
from planted import (
    Detached,
    GlobalKernel,
    PlainKernel,
    Rounding,
    Scaled,
    Shifting,
    SingleOnly,
    Starved,
    bistable,
    flipped,
    wrapped,
)

from robustdeq import registry
from robustdeq.attacks.apgd import APGD
from robustdeq.audits.base import Audit
from robustdeq.audits.battery import examine
from robustdeq.audits.binarisation import Binarisation
from robustdeq.audits.equilibria import Equilibria
from robustdeq.audits.gradient import Gradient
from robustdeq.audits.logit_scale import LogitScale
from robustdeq.audits.outsiders import union
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.errors import Unchecked
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.results.flags import find_flag
from robustdeq.surrogates.after_transient import AfterTransient
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.testing.toys import TASK
from robustdeq.training.central import build

GRADIENT = Gradient(images=16, directions=4)
PLANT = Binarisation(images=6, inner=99, control=40)


@pytest.fixture(scope="module")
def explicit():
    defense = Explicit(channels=8, blocks=1)
    return DefendedModel(defense, build(Entrant(defense), TASK).eval().requires_grad_(False), {})


class TestWhatCannotBeChecked:
    def test_running_out_of_memory_is_no_finding(self, honest, case):
        """It was read as "no gradient": the audit raised its flag, the attack was cancelled."""
        starved = wrapped(Starved, honest)
        for audit in (GRADIENT, LogitScale()):
            with pytest.raises(torch.OutOfMemoryError):
                audit.examine(case(starved))

    @pytest.mark.parametrize("plant", [PlainKernel, GlobalKernel])
    def test_a_kernel_that_is_a_plain_tensor_is_aligned(self, plant, honest, case):
        """It stayed float32 in the float64 copy; the failure was read as a missing gradient."""
        (measure,) = GRADIENT.examine(case(wrapped(plant, honest)))
        assert not measure.raised
        assert measure.value == 0.0

    def test_a_network_that_knows_no_float64_is_left_out_with_the_reason(self, honest, case):
        single = case(wrapped(SingleOnly, honest))
        with pytest.raises(Unchecked, match=r"asked in float64 \(expected Float"):
            GRADIENT.examine(single)
        report = examine(lambda: single.target, single.samples, single.threat, audits=("gradient",))
        lines = {line.audit: line.outcome for line in report.lines}
        assert lines["gradient"] == "not applicable"


class TestRegistry:
    def test_every_audit_is_found_by_its_name_and_says_what_it_measures(self):
        found = {name: registry.find("audits", name) for name in registry.names("audits")}
        assert set(found) >= {
            "binarisation", "black-box", "budget", "equilibria", "gradient", "logit-scale",
            "noise", "radius",
        }  # fmt: skip
        for kind in found.values():
            assert issubclass(kind, Audit)
            assert len((kind.__doc__ or "").split()) > 40, kind

    def test_every_measure_names_a_listed_flag(self, honest, case):
        for audit in (GRADIENT, LogitScale(), Equilibria()):
            for measure in audit.examine(case(honest)):
                find_flag(measure.flag)


class TestUnion:
    def test_an_equilibrium_network_is_attacked_as_hard_as_boards_require(
        self, honest, explicit, case
    ):
        columns = {column.name: column for column in load_protocol("digits-linf-v2").columns}
        required = columns["apgd-t"].stages[0].attack

        def as_hard(stage):
            through, attack = isinstance(stage.surrogate, ThroughSolverView), stage.attack
            enough = attack.steps >= required.steps and attack.targets >= required.targets
            return through and enough

        assert any(map(as_hard, union(case(honest))))
        assert not any(map(as_hard, union(case(explicit))))

    def test_and_from_where_a_solve_was_wrong_on_its_way(self, honest, explicit, case):
        def begins_there(stage):
            return isinstance(stage.surrogate, AfterTransient)

        assert any(map(begins_there, union(case(honest))))
        assert not any(map(begins_there, union(case(explicit))))


class TestGradient:
    def test_an_honest_equilibrium_network_is_aligned(self, honest, case):
        (measure,) = GRADIENT.examine(case(honest))
        assert (measure.value, measure.raised) == (0.0, False)

    def test_so_is_a_network_without_an_equilibrium(self, explicit, case):
        (measure,) = GRADIENT.examine(case(explicit))
        assert (measure.value, measure.raised) == (0.0, False)

    def test_so_is_a_randomised_defense_under_the_draw_that_its_gradient_is_of(self, honest, case):
        (measure,) = GRADIENT.examine(case(wrapped(Shifting, honest)))
        assert (measure.value, measure.raised) == (0.0, False)

    @pytest.mark.parametrize("factor", [1e6, 1e-30])
    def test_the_scale_of_the_logits_does_not_matter(self, honest, case, factor):
        (measure,) = GRADIENT.examine(case(wrapped(Scaled, honest, factor=factor)))
        assert (measure.value, measure.raised) == (0.0, False)

    def test_a_gradient_of_the_wrong_sign_fails_on_every_row(self, honest, case):
        (measure,) = GRADIENT.examine(case(flipped(honest)))
        assert (measure.value, measure.raised) == (1.0, True)

    def test_a_gradient_that_passes_straight_through_a_rounding_is_not_the_judged_one(
        self, honest, case
    ):
        (measure,) = GRADIENT.examine(case(wrapped(Rounding, honest)))
        assert measure.raised
        assert measure.value > 0.9

    def test_a_missing_gradient_counts_for_every_row_and_gives_its_reason(self, honest, case):
        (measure,) = GRADIENT.examine(case(wrapped(Detached, honest)))
        assert (measure.value, measure.raised) == (1.0, True)
        assert "does not require grad" in measure.detail


class TestLogitScale:
    def test_an_honest_scale_is_far_from_both_ends(self, honest, case):
        (measure,) = LogitScale().examine(case(honest))
        assert (measure.value, measure.raised) == (0.0, False)

    @pytest.mark.parametrize("factor", [1e6, 1e-30])
    def test_logits_out_of_scale_are_told(self, honest, case, factor):
        (measure,) = LogitScale().examine(case(wrapped(Scaled, honest, factor=factor)))
        assert (measure.value, measure.raised) == (1.0, True)

    def test_a_missing_gradient_is_no_matter_of_scale(self, honest, case):
        (measure,) = LogitScale().examine(case(wrapped(Detached, honest)))
        assert not measure.raised

    def test_without_a_correct_image_there_is_nothing_to_measure(self, honest, case):
        wrong = case(honest, images=4)
        wrong.y[:] = (honest.classifier.predict(wrong.x).labels + 1) % TASK.classes
        before = wrong.y.clone()
        assert LogitScale().examine(wrong) == []
        wrong.y[:] = before


class TestBinarisation:
    def test_an_honest_network_loses_what_was_planted(self, honest, case):
        (measure,) = PLANT.examine(case(honest))
        assert (measure.value, measure.raised) == (1.0, False)

    def test_a_gradient_of_the_wrong_sign_misses_it(self, honest, case):
        short = Binarisation(images=4, inner=49, control=20, attack=APGD(steps=10))
        (measure,) = short.examine(case(flipped(honest)))
        assert (measure.value, measure.raised) == (0.0, True)

    def test_the_network_under_test_keeps_its_own_head(self, honest, case):
        head = honest.classifier.head
        before = honest.classifier.predict(case(honest).x).logits
        PLANT.examine(case(honest))
        assert honest.classifier.head is head
        assert torch.equal(honest.classifier.predict(case(honest).x).logits, before)

    def test_logits_stand_in_for_states_where_there_is_no_equilibrium(self, explicit, case):
        (measure,) = PLANT.examine(case(explicit))
        assert measure.value == 1.0
        assert not measure.raised

    def test_a_test_that_random_points_pass_too_raises_nothing(self, honest, case):
        """Few inner points, many guesses, no gradient: the attack fails and noise does not."""
        easy = Binarisation(images=6, inner=9, control=400)
        (measure,) = easy.examine(case(wrapped(Detached, honest)))
        assert measure.value == 0.0
        assert not measure.raised
        assert "too easy" in measure.detail

    def test_features_that_stand_still_take_no_plant(self, honest, case):
        """Logits that are constant up to the boundary made a singular system, which ended it."""
        assert PLANT.examine(case(wrapped(Scaled, honest, factor=0.0))) == []

    def test_a_randomised_defense_is_not_asked(self, honest, case):
        assert PLANT.examine(case(wrapped(Shifting, honest))) == []


class TestEquilibria:
    def test_a_contraction_has_one(self, honest, case):
        (measure,) = Equilibria().examine(case(honest))
        assert (measure.value, measure.raised) == (0.0, False)

    def test_a_network_of_latches_has_several(self, honest, case):
        (measure,) = Equilibria().examine(case(bistable(honest)))
        assert measure.raised
        assert measure.value > 0.5

    def test_a_network_without_an_equilibrium_is_not_asked(self, explicit):
        assert Equilibria().applies(explicit) == "explicit has no equilibrium"

    def test_nor_is_a_defense_with_its_own_answer(self, honest):
        assert "own `infer`" in (Equilibria().applies(wrapped(Scaled, honest)) or "")
        assert Equilibria().applies(wrapped(Rounding, honest)) is None
