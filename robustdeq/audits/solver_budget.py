"""Does the label hang on where the solver stops?"""

from dataclasses import dataclass

import torch

from robustdeq.audits.ascent import ascent
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.audits.outsiders import first, reaches
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.budget import lengthened
from robustdeq.evaluation.remote import derived
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.objectives.margin import Margin
from robustdeq.surrogates.defended import Defended

_LIMIT = 0.05  # share of images; from there on a figure may be points off at another budget


@dataclass(frozen=True)
class SolverBudget(Audit):
    """The share of images whose label changes at a longer solve, somewhere on an attack's way.

    A network that is stopped before its equilibrium is another function than the one whose gradient
    an implicit adjoint gives, and what withstands an attack there may not at the next step. A
    solver of a fixed depth declares no tolerance, so that no residual tells. Every image takes a
    few steps of PGD through the defended path, and each point on the way is answered at the
    deployed budget and at the longer one of `lengthened`.

    Few rows are lost by either budget alone, and as many won: so labels are compared, not
    accuracies, and all the way, since close to the boundary they part first. Raised above 5 % of
    images, where chance is ruled out: a note, as for a column that is judged at both budgets.
    """

    images: int = 100
    steps: int = 6

    def applies(self, target: DefendedModel) -> str | None:
        if not isinstance(target.classifier, EquilibriumNetwork):
            return f"{target.defense.chain} has no equilibrium"
        if target.defense.at_inference.answers:
            return f"{target.defense.chain} has its own `infer` or `relaxed`, not one solve"
        return None

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        if not reaches(case):
            return []
        longer = case.judge.on(derived(case.judge.target, lengthened))
        surface = Defended().bind(case.target, case.noise).surface
        start = case.threat.random_start(case.x, case.rows, case.noise.child("start"))
        changed = torch.zeros_like(case.y, dtype=torch.bool)
        for x, _ in ascent(case, surface, start, Margin(), self.steps):
            own, other = (judge.answer(x, case.rows) for judge in (case.judge, longer))
            changed |= own.labels != other.labels
        n, count = len(case.y), int(changed.sum())
        p = exceeds(count, n, _LIMIT)
        detail = f"{count} of {n} images change their label on {self.steps} steps of PGD"
        raised = count > _LIMIT * n and p <= CHANCE
        return [Measure("budget-dependent", count / n, _LIMIT, raised, detail, p)]
