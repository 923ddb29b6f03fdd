"""Had the attack finished?"""

import dataclasses
from dataclasses import dataclass, replace
from typing import ClassVar

from robustdeq.attacks.base import Attack
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, broken_by, first, remaining, union

_LIMIT = 0.02  # points that a board may be off by before an attack counts as unfinished
_BUDGETS = frozenset({"steps", "restarts", "queries"})
_STEPS = frozenset({"steps"})


def doubled(attack: Attack, budgets: frozenset[str] = _BUDGETS) -> Attack:
    """The same attack with twice the steps, restarts and queries, as far as it has them."""
    assert dataclasses.is_dataclass(attack)  # every plug-in is
    found = budgets & {field.name for field in dataclasses.fields(attack)}
    return dataclasses.replace(attack, **{name: 2 * getattr(attack, name) for name in found})


@dataclass(frozen=True)
class Budget(Audit):
    """The white-box union against itself at twice the steps and restarts.

    An attack that goes on gaining has not converged (Carlini et al. 2019, "On evaluating
    adversarial robustness"; Pintor et al. 2022, "Indicators of attack failure"). The
    union's survivors are attacked at twice the budget: first by its first and longest search, in
    twice the steps, and by all of it only if that broke two images.

    The value is (b - b0) / n: b counts the images that only twice the budget breaks, b0 those that
    one more seed of the union breaks and it does not. Raised from 2 points on, where the one-sided
    exact paired test rules chance out: more tries always find a little more, and only steps that
    tries cannot replace were missing.
    """

    version: ClassVar[int] = 2
    images: int = 100

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        twice = tuple(replace(stage, attack=doubled(stage.attack)) for stage in union(case))
        glance = tuple(
            replace(stage, attack=doubled(stage.attack, _STEPS)) for stage in union(case)[:1]
        )
        broken = broken_by(
            case,
            "union, doubled",
            lambda standing: remaining(case, glance, standing),
            lambda standing: remaining(case, twice, standing),
        )
        return [against_rerun(case, "more-steps-help", "twice the budget", broken, _LIMIT)]
