"""The same network under a longer solve: does robustness come from stopping early?"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.checks import Finding
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.remote import Model, derived
from robustdeq.samples import Samples
from robustdeq.surrogates.base import network_behind

TIMES = 4
TIGHTER = 100
GAP = 0.02  # of accuracy between two budgets, above which robustness depends on the budget


Deployment = Literal["own", "judged-longer", "crafted-longer"]


@dataclass(frozen=True)
class Roles:
    """Who is attacked, who judges, and under which other deployment the inputs are read as well."""

    attacked: Model
    judged: Model
    compared: Model | None = None


def roles(deployment: Deployment, target: Model, fresh: Model) -> Roles:
    """The roles of a column; `fresh` is a copy of the target that no attack touches."""
    if deployment == "judged-longer":
        return Roles(target, derived(fresh, lengthened), fresh)
    if deployment == "crafted-longer":
        return Roles(derived(target, lengthened), fresh, derived(fresh, lengthened))
    return Roles(target, fresh)


def lengthened(target: DefendedModel) -> DefendedModel:
    """The same weights, solved with four times the steps to a hundredth of the tolerance.

    The tolerance goes with the steps, because a loose one is the other way to stop early.
    """
    model = network_behind(target)
    solver = model.solver
    tol = solver.tol / TIGHTER if math.isfinite(solver.tol) else solver.tol
    longer = replace(solver, max_steps=TIMES * solver.max_steps, tol=tol)
    return replace(target, classifier=model.replaced(solver=longer))


def budget_findings(
    compared: Model | None,
    samples: Samples,
    right: Tensor,
    salt: str = "",
) -> list[Finding]:
    """Do final inputs fare otherwise under the other deployment?

    Args:
        right: (n,) whom the column's own judge found right.
    """
    if compared is None:
        return []
    other = Judge(compared, 128, salt=salt)(samples).right
    here, there = right.double().mean().item(), other.double().mean().item()
    if abs(here - there) <= GAP:
        return []
    return [Finding("budget-dependent", f"{here:.1%} as judged, {there:.1%} at the other budget")]
