"""Does an attack climb a branch that the deployed solve never finds?"""

from dataclasses import dataclass

import torch

from robustdeq.audits.ascent import ascent
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds
from robustdeq.audits.outsiders import first, reaches
from robustdeq.defenses.base import DefendedModel
from robustdeq.equilibrium import residual
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.solvers.base import solve
from robustdeq.surrogates.base import straight_through
from robustdeq.surrogates.defended import Defended

_APART = 0.05  # relative distance; answers of one equilibrium stay below 0.02, of two exceed 0.1
_LIMIT = 0.05  # share of rows


@dataclass(frozen=True)
class Equilibria(Audit):
    """The share of attacked images whose warm and cold solves end in different states.

    A cell that is no contraction may have several equilibria (Winston and Kolter 2020, "Monotone
    operator equilibrium networks", make it one by construction). Every image takes the
    steps of PGD-20 through the defended path, and a state is carried along, each solve starting
    where the last one ended. At the end that state is held against a cold solve of the same input:
    a row counts if both converged and differ by more than 5 % of the cold state's norm.

    Raised above 5 % of rows, where chance is ruled out: from there on it moves an accuracy by
    points if an attack trusts its warm states. The harness's own do not (`AnchoredStates`), so this
    is a property of the network that the reader of a gradient should know, and a note.
    """

    images: int = 100
    steps: int = 20

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
        model = case.target.classifier
        assert isinstance(model, EquilibriumNetwork)
        prepare = straight_through(case.target, case.noise)
        surface = Defended().bind(case.target, case.noise).surface
        start = case.threat.random_start(case.x, case.rows, case.noise.child("start"))
        warm = problem = None
        for x, _ in ascent(case, surface, start, CrossEntropy(), self.steps):
            with torch.no_grad():
                problem = model.problem(prepare(x, case.rows))
            warm = solve(problem, model.solver, warm=None if warm is None else warm.z)
        assert warm is not None
        assert problem is not None
        cold = solve(problem, model.solver)
        apart = residual(warm.z, cold.z) > _APART
        n, count = len(case.y), int((apart & warm.converged & cold.converged).sum())
        p = exceeds(count, n, _LIMIT)
        detail = f"{count} of {n} images after PGD-{self.steps}"
        raised = count > _LIMIT * n and p <= CHANCE
        return [Measure("several-equilibria", count / n, _LIMIT, raised, detail, p)]
