"""A network that is stopped before its equilibrium is told by its labels, which go on changing."""

from fractions import Fraction

import pytest
from planted import Scaled, wrapped

from robustdeq.audits.base import Case
from robustdeq.audits.solver_budget import SolverBudget
from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.evaluation.judge import Judge
from robustdeq.notebook import load_model
from robustdeq.testing.impostors.early_stop import EARLY_STOP
from robustdeq.testing.toys import TASK
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build

IMAGES = 25
(FORM,) = EARLY_STOP.forms


@pytest.fixture(scope="module")
def twin():
    return load_model("vanilla", "results")


def measured(target):
    samples = Digits().load().test.take(IMAGES).samples()
    case = Case(target, Judge(target, IMAGES), samples, Linf(Fraction(3, 16)))
    (measure,) = SolverBudget().examine(case)
    return measure


def test_at_an_equilibrium_no_label_changes_with_the_budget(twin):
    measure = measured(twin)
    assert (measure.value, measure.raised) == (0.0, False)


def test_a_solver_that_stops_early_raises_the_flag_that_it_is_named_for(twin):
    """No audit asked at another budget: the battery called the impostor trustworthy, unflagged."""
    measure = measured(FORM.make(twin))
    assert (measure.flag, measure.raised) == (FORM.flag, True)


def test_only_a_network_that_answers_by_one_solve_is_asked(twin):
    defense = Explicit(channels=8, blocks=1)
    explicit = DefendedModel(defense, build(Entrant(defense), TASK), {})
    assert SolverBudget().applies(explicit) == "explicit has no equilibrium"
    assert "own `infer`" in (SolverBudget().applies(wrapped(Scaled, twin)) or "")
    assert SolverBudget().applies(twin) is None
