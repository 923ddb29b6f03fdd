"""All audits of one target, twice where one raises a flag, and the verdict."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE
from robustdeq.audits.outsiders import left_by_union
from robustdeq.content import content
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import Unchecked
from robustdeq.evaluation.checks import gradient_findings, postflight
from robustdeq.evaluation.sides import sides
from robustdeq.registry import find, names
from robustdeq.results.boards.statistics import holm
from robustdeq.results.store.draft import Draft
from robustdeq.samples import Samples
from robustdeq.spec import digest, encode
from robustdeq.surrogates.defended import Defended
from robustdeq.surroundings import own_surroundings
from robustdeq.threats.base import ThreatModel

Outcome = Literal["raised", "unstable", "passed", "not applicable", "nothing to measure"]


@dataclass(frozen=True)
class Line:
    """One figure of the report; a check without a figure has none, and no limit."""

    audit: str
    flag: str
    outcome: Outcome
    detail: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Report:
    """What a battery found on n images.

    Attributes:
        robust: accuracy under the white-box union; of a randomised defense the share of fresh draws
            that are right, as on a board.
    """

    n: int
    clean: float
    robust: float
    lines: tuple[Line, ...]

    @property
    def flags(self) -> list[str]:
        """The raised ones, each of them once."""
        return list(dict.fromkeys(line.flag for line in self.lines if line.outcome == "raised"))


def own_audits() -> tuple[str, ...]:
    """The audits that do not come with the package, by name and content."""
    found = {name: find("audits", name)() for name in names("audits")}
    return tuple(f"{name} {content(audit)}" for name, audit in found.items() if content(audit))


def specs() -> list[dict[str, Any]]:
    """Every audit there is, by name and version; those from elsewhere by their content, too."""
    return [encode(find("audits", name)()) for name in names("audits")]


@own_surroundings()
def examine(
    load: Callable[[], DefendedModel],
    samples: Samples,
    threat: ThreatModel,
    progress: Callable[[str], None] = lambda audit: None,
    audits: Sequence[str] | None = None,
    seed: int = 0,
    draft: Draft | None = None,
    salt: str = "",
    randomised: bool | None = None,
) -> Report:
    """Run every audit on labeled images.

    An audit that raises a flag is repeated under another seed, and what then does not appear again
    is "unstable", not raised. Statistical flags are Holm-adjusted over the battery, at family-wise
    0.01.

    Args:
        load: the target, built and loaded afresh; the attacked and the judged copy are two.
        audits: names; by default all there are.
        seed: of every draw; the next one is that of repetitions.
        draft: has what an interrupted examination of the same target and images had finished; by
            default there was none.
        salt: keys what the defense draws, and the order in which it is asked.
        randomised: whether answers are known to depend on its draws; they are asked about all the
            same.

    Raises:
        UnknownName: an audit that nobody wrote.
    """
    chosen = [find("audits", name)() for name in (names("audits") if audits is None else audits)]
    progress("union")
    each = sides(load, samples, 128, randomised, salt)
    target, judge = each.attacked, each.judge
    assert isinstance(target, DefendedModel), "audits look inside"
    case = Case(target, judge, samples, threat, seed, draft=draft or Draft())
    clean = judge(samples)
    surface = Defended().bind(target, case.noise).surface
    findings = [*each.findings, *gradient_findings(surface, samples)]
    findings += postflight(load(), clean, None, clean.right)
    left = left_by_union(case)
    case = replace(case, left=left)
    lines = [Line("checks", each.name, "raised", each.detail) for each in findings]
    found = []
    for audit in chosen:
        progress(audit.plugin_name())
        found.append((audit, *_examined(audit, case)))
    lines += [line for lines in _settled(found, case, progress) for line in lines]
    n = max(len(samples), 1)
    return Report(len(samples), clean.right.sum().item() / n, left.sum().item() / n, tuple(lines))


def _examined(audit: Audit, case: Case) -> tuple[str | None, list[Measure]]:
    """Why an audit does not apply, or None, and its figures."""
    if (reason := audit.applies(case.target)) is not None:
        return reason, []
    try:
        return None, _measures(audit, case)
    except Unchecked as error:
        return str(error), []


def _measures(audit: Audit, case: Case) -> list[Measure]:
    """The figures of an audit under the case's seed."""
    name = f"{audit.plugin_name()} {digest(audit, 8)}, seed {case.seed}"
    made = case.draft.part(name, lambda: [asdict(measure) for measure in audit.examine(case)])
    return [Measure(**each) for each in made]


def _settled(
    found: list[tuple[Audit, str | None, list[Measure]]],
    case: Case,
    progress: Callable[[str], None],
) -> Iterator[list[Line]]:
    """The lines of each audit, once what it raised has been asked again."""
    adjusted = iter(holm([m.p for _, _, measures in found for m in measures if m.p is not None]))
    for audit, reason, measures in found:
        name = audit.plugin_name()
        levels = [0.0 if m.p is None else next(adjusted) for m in measures]
        raised = [m.raised and p <= CHANCE for m, p in zip(measures, levels, strict=True)]
        if reason is not None:
            yield [Line(name, "", "not applicable", reason)]
            continue
        if not measures:
            yield [Line(name, "", "nothing to measure", "no image to measure it on")]
            continue
        again: list[Measure] = []
        if any(raised):
            progress(f"{name}, another seed")
            again = _measures(audit, replace(case, seed=case.seed + 1, left=None))
        repeated = {m.flag for m in again if m.raised}
        yield [
            Line(name, m.flag, _outcome(up, m.flag in repeated), m.detail, _plain(m.value), m.limit)
            for m, up in zip(measures, raised, strict=True)
        ]


def _outcome(raised: bool, repeated: bool) -> Outcome:
    if not raised:
        return "passed"
    return "raised" if repeated else "unstable"


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
