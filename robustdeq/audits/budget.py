"""Had the attack finished?"""

import dataclasses
from dataclasses import dataclass

from robustdeq.attacks.base import Attack
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import first, mostly, remaining, survivors, survivors_again, union
from robustdeq.evaluation.protocol import Stage

_LIMIT = 0.02  # points that a board may be off by before an attack counts as unfinished
_BUDGETS = frozenset({"steps", "restarts", "queries"})


def doubled(attack: Attack) -> Attack:
    """The same attack with twice the steps, restarts and queries, as far as it has them."""
    assert dataclasses.is_dataclass(attack)  # every plug-in is
    found = _BUDGETS & {field.name for field in dataclasses.fields(attack)}
    return dataclasses.replace(attack, **{name: 2 * getattr(attack, name) for name in found})


@dataclass(frozen=True)
class Budget(Audit):
    """The white-box union against itself at twice the steps and restarts.

    An attack that goes on gaining has not converged (Carlini et al. 2019, "On evaluating
    adversarial robustness"; Pintor et al. 2022, "Indicators of attack failure"). The
    union's survivors are attacked at twice the budget; the value is the accuracy that this costs.

    Raised above 2 points, and only if another seed at the single budget gains less: more tries
    always find a little more (one more start of PGD added 16 of 500 images on an honest network),
    and only steps that tries cannot replace were missing.
    """

    images: int = 100

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        twice = tuple(Stage(doubled(stage.attack), stage.surrogate) for stage in union(case))
        standing, n = survivors(case), len(case.y)
        stood = int(standing.sum())
        left = mostly(case.once("union, doubled", lambda: remaining(case, twice, standing)))
        gain = stood - int(left.sum())
        detail = f"twice the budget broke {gain} of the {stood} of {n} images that withstood it"
        raised = gain > _LIMIT * n
        if raised:
            again = stood - int(survivors_again(case).sum())
            raised = gain > again
            detail += f", another seed {again}"
        return [Measure("more-steps-help", gain / n, _LIMIT, raised, detail)]
