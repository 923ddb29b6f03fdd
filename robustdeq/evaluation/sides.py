"""The two sides of an evaluation: who is attacked, and who judges."""

from collections.abc import Callable
from dataclasses import dataclass

from robustdeq.evaluation.bench import settled
from robustdeq.evaluation.budget import Deployment, Roles, roles
from robustdeq.evaluation.checks import Finding, preflight
from robustdeq.evaluation.forgetful import cold
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.remote import Model, derived
from robustdeq.samples import Samples


@dataclass(frozen=True)
class Sides:
    """Copies of one model, each asked nothing so far, and what others of its copies answered.

    Attributes:
        findings: of the checks whether a prediction is a function of its own image.
        inside: a copy of the judged model whose inside is looked at.
        asked: the copy that searches ask which read answers alone, where judges live apart.
    """

    roles: Roles
    judge: Judge
    findings: tuple[Finding, ...]
    inside: Model
    asked: Model | None = None

    @property
    def attacked(self) -> Model:
        """The attacker's copy."""
        return self.roles.attacked


def sides(
    load: Callable[[], Model],
    samples: Samples,
    batch_size: int = 128,
    randomised: bool | None = None,
    salt: str = "",
    deployment: Deployment = "own",
    apart: Callable[[], Model] | None = None,
) -> Sides:
    """Check a model on samples, then set up those who attack and judge it as the checks demand.

    Everybody who attacks and judges comes through here: a stateful model is asked cold, and a
    randomized one is judged by shares of its draws.

    Args:
        load: builds the model afresh.
        randomised: whether its answers are known to depend on its draws; they are asked about all
            the same.
        salt: keys what the defense draws, and the order in which it is asked.
        apart: builds the copies that are judged and searched where nobody can tell one from the
            other; by default they are built by `load`, too.
    """

    def fresh(load: Callable[[], Model] = load) -> Model:
        return derived(load(), settled)

    asked, unasked = (
        Judge(roles(deployment, copy, copy).judged, batch_size, False, salt)
        for copy in (fresh(), fresh())
    )
    findings = preflight(asked, unasked, samples)
    flags = {finding.name for finding in findings}
    drawn = bool(randomised) or "randomised" in flags
    chosen = roles(deployment, cold(fresh(), flags), cold(fresh(apart or load), flags))
    judge = Judge(chosen.judged, batch_size, drawn, salt)
    if apart is None:
        return Sides(chosen, judge, tuple(findings), chosen.judged)
    inside = roles(deployment, chosen.attacked, cold(fresh(), flags)).judged
    asked = roles(deployment, cold(fresh(apart), flags), chosen.judged).attacked
    return Sides(chosen, judge, tuple(findings), inside, asked)
