"""Every flag that the checks of a trial and the audits raise on a target."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from robustdeq.audits.base import Audit, Case
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.budget import budget_findings, lengthened
from robustdeq.evaluation.checks import (
    Finding,
    gradient_findings,
    postflight,
    preflight,
    view_mismatch,
)
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.remote import derived
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.results.flags import in_order
from robustdeq.surrogates.defended import Defended
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Seen:
    """Labelled images x (n, *image), what an attack made of them, and where they stand."""

    x: Tensor
    y: Tensor
    rows: Tensor
    adversarial: Tensor
    threat: ThreatModel


def raised_flags(
    target: DefendedModel, judge: Judge, fresh: Judge, seen: Seen, audits: Sequence[Audit]
) -> list[str]:
    """The names of all flags, in the order of the list.

    Args:
        judge: of a copy of the target that no attack has touched.
        fresh: of one that has been asked nothing at all.
        audits: to be run; they cost more than all the checks.
    """
    names = [finding.name for finding in check_findings(target, judge, fresh, seen)]
    case = Case(target, judge, seen.x, seen.y, seen.rows, seen.threat)
    for audit in audits:
        if audit.applies(target) is None:
            names += [measure.flag for measure in audit.examine(case) if measure.raised]
    return in_order(names)


def check_findings(target: DefendedModel, judge: Judge, fresh: Judge, seen: Seen) -> list[Finding]:
    """The findings of a trial's own checks."""
    x, y, rows = seen.x, seen.y, seen.rows
    findings = preflight(judge, fresh, x, y, rows)
    surface = Defended().bind(target, NoiseStream(0).child("preflight")).surface
    findings += gradient_findings(surface, x, y, rows)
    clean, adversarial = judge(x, y, rows), judge(seen.adversarial, y, rows)
    findings += postflight(target, clean, adversarial, clean.right)
    right = clean.right
    findings += view_mismatch(
        Defended(), target, seen.adversarial[right], rows[right], adversarial.labels[right]
    )
    if (
        isinstance(target.classifier, EquilibriumNetwork)
        and not target.defense.at_inference.answers
    ):
        longer = derived(judge.target, lengthened)
        findings += budget_findings(longer, seen.adversarial, y, rows, adversarial.right)
    return findings
