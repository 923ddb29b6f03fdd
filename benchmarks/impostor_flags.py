"""Every flag that the checks of a trial and the audits raise on a target."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Seen:
    """Labeled images, and what an attack made of them."""

    samples: Samples
    adversarial: Samples
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
    case = Case(target, judge, seen.samples, seen.threat)
    for audit in audits:
        if audit.applies(target) is None:
            names += [measure.flag for measure in audit.examine(case) if measure.raised]
    return in_order(names)


def check_findings(target: DefendedModel, judge: Judge, fresh: Judge, seen: Seen) -> list[Finding]:
    """The findings of a trial's own checks."""
    findings = preflight(judge, fresh, seen.samples)
    surface = Defended().bind(target, NoiseStream(0).child("preflight")).surface
    findings += gradient_findings(surface, seen.samples)
    clean, adversarial = judge(seen.samples), judge(seen.adversarial)
    findings += postflight(target, clean, adversarial, clean.right)
    made = seen.adversarial
    judged = Samples(made.images, adversarial.labels, made.positions).select(clean.right)
    findings += view_mismatch(Defended(), target, judged)
    if (
        isinstance(target.classifier, EquilibriumNetwork)
        and not target.defense.at_inference.answers
    ):
        longer = derived(judge.target, lengthened)
        findings += budget_findings(longer, seen.adversarial, adversarial.right)
    return findings
