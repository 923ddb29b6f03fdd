"""The checks of every trial: does the model answer for itself, and did the attack see it?"""

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from robustdeq import answers
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.chains import defines_more
from robustdeq.errors import MissingGradient
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.forgetful import cold
from robustdeq.evaluation.judge import Judge, Verdict
from robustdeq.evaluation.remote import Model, ask
from robustdeq.noise import NoiseStream, RowNoise
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.results.flags import CONVERGED
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surrogates.base import Sources, Surrogate

PREFLIGHT = 64  # images
ROUNDING = 1e-5  # logit change between two equal questions, relative to the logits' spread
NEARBY = 0.02  # of the way to mid-grey
COUPLING = 1e-3  # the same between two batches
DEAD = 0.01  # share of rows that may have no gradient
_LOGITS = frozenset({"logits"})
MISMATCH = 0.005  # share of final inputs on which attacker and judge may disagree


@dataclass(frozen=True)
class Finding:
    """A raised flag and the figures behind it."""

    name: str
    detail: str


def preflight(judge: Judge, fresh: Judge, samples: Samples) -> list[Finding]:
    """Is the prediction a function of its own image? Asked on the first clean images.

    Args:
        fresh: on a copy of the model that has been asked nothing yet.
    """
    samples = samples.first(PREFLIGHT)
    x, rows = samples.images, samples.positions
    verdict = judge(samples)
    first = judge.repeat(x, rows)
    second = judge.repeat(x, rows)
    judge.repeat(x.flip(0).roll(1, -1), rows)
    third = judge.repeat(x, rows)
    findings = []
    if _moved(first, second) > ROUNDING:
        # The same to every first comer, it only remembers that it was asked before.
        again = fresh(samples).prediction.logits
        alike = _moved(verdict.prediction.logits, again) <= ROUNDING
        name = "stateful" if alike else "nondeterministic"
        findings.append(Finding(name, _change(first, second)))
    elif _moved(first, third) > ROUNDING:
        findings.append(Finding("stateful", _change(first, third)))
    else:
        # An answer may also be remembered for what comes near its question.
        near = x.lerp(x.new_tensor(0.5), NEARBY)
        unasked, asked = fresh.repeat(near, rows), judge.repeat(near, rows)
        if _moved(unasked, asked) > ROUNDING:
            findings.append(Finding("stateful", f"near known images {_change(unasked, asked)}"))
    if not findings:
        findings += _denied(judge, x, rows, first)
    if any(finding.name == "stateful" for finding in findings):
        # What it remembers moves the logits as well; asked cold, only its draws can.
        findings += _drawn(fresh.on(cold(fresh.target, ("stateful",))), x, rows)
    else:
        findings += _drawn(judge, x, rows)
    if findings:
        return findings  # coupling cannot be told from noise or memory
    worst = verdict.spread.max().item() / _scale(first)
    if worst > COUPLING:
        findings.append(Finding("row-coupled", f"logits moved by {worst:.2g} of their spread"))
    return findings


def _drawn(judge: Judge, x: Tensor, rows: Tensor) -> list[Finding]:
    """Whether another draw of the defense's own noise moves the logits."""
    if _moved(judge.repeat(x, rows), judge.redraw(x, rows)) <= ROUNDING:
        return []
    return [Finding("randomised", "another draw, keyed by image, moves the logits")]


def _denied(judge: Judge, x: Tensor, rows: Tensor, logits: Tensor) -> list[Finding]:
    """Whether hooks that a defense states to pass through do more: attacks go by its word."""
    expected = ask(judge.target, _as_stated, x, judge.noise.sealed(rows))
    if expected is None or _moved(logits, expected) <= COUPLING:
        return []
    change = _change(logits, expected)
    return [Finding("view-mismatch", f"answers otherwise than its `inference` states: {change}")]


def _as_stated(target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor | None:
    """What a defense would answer that does no more than it states, if it defines more."""
    defense = target.defense
    if not defines_more(defense) or defense.at_inference.answers:
        return None
    with torch.no_grad():
        if defense.at_inference.rewrites:
            x = target.transformed(x.clone(), noise)
        return target.classifier.predict(x).logits


def gradient_findings(surface: Surface, samples: Samples) -> list[Finding]:
    """Does a gradient reach the input? Asked on clean images, with the loss of most attacks."""
    samples = samples.first(PREFLIGHT)
    try:
        gradient = surface.value_and_grad(samples, CrossEntropy()).gradient
    except MissingGradient as error:
        return [Finding("missing-gradient", str(error))]
    assert gradient is not None
    lost = surface.cost.undirected
    none = int((gradient.flatten(1).abs().amax(1) == 0).sum()) - len(lost)
    if none > DEAD * len(samples):
        share = none / len(samples)
        return [Finding("zero-gradient", f"{share:.1%} of the clean images have none")]
    return undirected(lost, len(samples))


def stage_findings(
    target: DefendedModel, stage: Stage, samples: Samples, salt: str, sources: Sources
) -> list[Finding]:
    """Whether a gradient reaches the images through a stage's view."""
    noise = NoiseStream(0, salt).child("preflight")
    surface = stage.surrogate.bind(target, noise, sources).surface
    return gradient_findings(surface, samples)


def undirected(rows: Set[int], asked: int) -> list[Finding]:
    """What rows say whose gradient was NaN or infinite at some visit, and so gave no direction.

    One such row says nothing of the others; more than a hundredth of them say that the attack could
    not see its way.
    """
    if not rows:
        return []
    name = "non-finite" if len(rows) > max(1, DEAD * asked) else "undirected"
    return [Finding(name, f"{len(rows)} of {asked} images had a gradient that was no number")]


def postflight(
    target: Model, clean: Verdict, adversarial: Verdict | None, attacked: Tensor
) -> list[Finding]:
    """What the judged rows themselves say.

    Args:
        adversarial: None where nothing was attacked.
        attacked: marks the rows that an attack was run on.
    """
    findings = []
    if (who := ask(target, _rewriting)) is not None:
        findings.append(Finding("input-rewritten", f"by {who}"))
    judged = {"clean": clean} | ({} if adversarial is None else {"adversarial": adversarial})
    for name, verdict in judged.items():
        silent = int((verdict.labels == -1).sum())
        if silent:
            detail = f"no answer to {silent} of {len(verdict.labels)} {name} inputs"
            findings.append(Finding("non-finite", detail))
        share = verdict.prediction.converged.float().mean().item()
        if share < CONVERGED:
            findings.append(Finding("unconverged", f"{share:.1%} of {name} rows converged"))
    if adversarial is None:
        return findings
    broken = attacked & ~adversarial.right
    if bool(broken.any()):
        missed = (~adversarial.prediction.converged[broken]).float().mean().item()
        if missed > 0.5:
            detail = f"{missed:.1%} of {int(broken.sum())} successes"
            findings.append(Finding("success-mostly-unconverged", detail))
    return findings


def view_mismatch(
    surrogate: Surrogate, target: Model, judged: Samples, salt: str = ""
) -> list[Finding]:
    """Did the attacker see the model that is judged? Asked cold, on its final inputs.

    Args:
        judged: the final inputs, with the judge's labels.
    """
    if not len(judged):
        return []
    seen = ask(target, _seen, surrogate, judged, NoiseStream(0, salt).child("judge"))
    share = (seen != judged.labels).float().mean().item()
    if share <= MISMATCH:
        return []
    return [Finding("view-mismatch", f"{share:.1%} of {len(judged)} final inputs")]


def _rewriting(target: DefendedModel) -> str | None:
    """The chain, if it rewrites its input."""
    return target.defense.chain if target.defense.at_inference.rewrites else None


def _seen(
    target: DefendedModel, surrogate: Surrogate, samples: Samples, noise: NoiseStream
) -> Tensor:
    """The labels (B,) that a view shows."""
    surface = surrogate.bind(target, noise).surface
    seen = [surface.view(part.images, part.positions, _LOGITS) for part in samples.split(128)]
    return torch.cat([answers.labels(view.logits) for view in seen])


def _scale(logits: Tensor) -> float:
    """The typical distance between an image's largest and smallest logit."""
    return max(1e-12, answers.spread(logits).nanmedian().item())


def _moved(a: Tensor, b: Tensor) -> float:
    """The largest change of a logit, relative to their scale."""
    return answers.change(a, b).max().item() / _scale(a)


def _change(a: Tensor, b: Tensor) -> str:
    flipped = int((answers.labels(a) != answers.labels(b)).sum())
    moved = answers.change(a, b).max().item()
    return f"logits moved by up to {moved:.2g}, {flipped} labels flipped"
