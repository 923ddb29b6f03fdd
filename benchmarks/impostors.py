"""Does the union unmask defenses that only look robust, and do the flags say so?

    python -m benchmarks.impostors [--images 500] [--only NAME ...] [--out FILE]

Every impostor wears the committed `vanilla` network on digits under Linf 3/16, its twin, which has
hardly any robustness. A trick that keeps every label is measured against the union on the twin; one
that changes the function against a reference attack that has read its source and spends at least
five times the union's gradients. At most 3 points above that, and the named flag raised: unmasked.
Random impostors count the share of fresh draws that are right, and the one-sided 95 % lower bound
of their excess. The forms of a trick are one function and share the reference's inputs. Finished
rows and references are kept below `results/measured/impostors`, under the digests of the weights
and of the union, and not computed again; another folder, `--cache DIR`, measures them anew.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from benchmarks.impostor_flags import Seen, raised_flags
from benchmarks.kept import MEASURED, fingerprint, kept
from benchmarks.pages import page_parser, parsed, publish
from benchmarks.reference_attacks import Opened, opened, reference_attack
from benchmarks.strength import RADIUS
from robustdeq.audits.base import Audit
from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.forgetful import cold
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.union import black_box, runnable, strongest, white_box
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.registry import find
from robustdeq.results.boards.statistics import newcombe, paired_counts
from robustdeq.samples import Samples
from robustdeq.spec import digest
from robustdeq.testing.impostors import ZOO, Form, Impostor
from robustdeq.testing.impostors.appearance import naive_attack
from robustdeq.testing.impostors.base import network_of
from robustdeq.threats.linf import Linf

DRAWS = 50  # fresh ones, of random impostors
AUDITS = (
    "gradient",
    "logit-scale",
    "lookup",
)  # the cheap ones; the others attack a target all over again
LIMIT = 3.0  # points
Stages = tuple[Stage, ...]
MORE = 5  # times the union's gradients, for a reference attack
TWIN = Impostor(
    "undefended twin", "nothing", True, (Form("itself", "", lambda twin: twin),), deceives=False
)
HEADER = (
    "| trick | form | twin, union | looks | union | reference | excess, points | at least "
    "| flag it must raise | flags raised | unmasked |\n" + 11 * "|---" + "|"
)


@dataclass(frozen=True)
class Slice:
    """Labeled images, and the threat."""

    samples: Samples
    threat: Linf


@dataclass(frozen=True)
class Row:
    """A finished line: shares of right answers per image, and the flags.

    Attributes:
        reference: empty where the trick keeps every label.
    """

    trick: str
    form: str
    looks: float
    union: list[float]
    reference: list[float]
    flags: list[str]


def gradients_of(stage: Stage) -> int:
    """The most gradients one image can get from a stage, with the rerun of unconfirmed rows.

    A gradient is that of one answer: a step along an expectation over 8 draws takes 8.
    """
    attack: Any = stage.attack
    sizes = {f.name: getattr(attack, f.name) for f in fields(attack)}
    each = [sizes.get(name) or 1 for name in ("targets", "restarts")]
    draws = getattr(stage.surrogate, "draws", 1)
    return 2 * draws * (sizes.get("steps") or 0) * math.prod(each)


def share_right(target: DefendedModel, x: Tensor, data: Slice, draws: int, name: str) -> Tensor:
    """(n,) how often the deployed predictor is right, over draws of its own noise."""
    streams = [NoiseStream(draw).child(name) for draw in range(draws)]
    y, rows = data.samples.labels, data.samples.positions
    right = [target.predict(x, rows, stream).labels == y for stream in streams]
    return torch.stack(right).double().mean(0)


def asked_cold(form: Form, twin: DefendedModel) -> DefendedModel:
    """A fresh copy of a form as attacks and judges meet it: it remembers no other question."""
    return cold(form.make(twin), (form.flag,))


def attacks_on(impostor: Impostor, form: Form, twin: DefendedModel, data: Slice) -> Stages:
    """The gradient attacks of the union that find one in this form."""
    target = asked_cold(form, twin)
    stages = white_box(target, impostor.random)
    return runnable(stages, target, data.samples)


@dataclass(frozen=True)
class Bench:
    """The twin, the images, the audits to be run on each row, and where finished ones are kept."""

    twin: DefendedModel
    data: Slice
    audits: Sequence[Audit]
    folder: Path

    def cached(self, impostor: Impostor, form: Form) -> Row:
        """The row of an earlier run, or a new one, which is kept."""
        path = self._path(impostor, f"{form.name}.json")
        return Row(**kept(path, lambda: asdict(self.row(impostor, form))))

    def row(self, impostor: Impostor, form: Form) -> Row:
        """Attack one form of a trick by every means, and look for its flag."""
        twin, data, samples = self.twin, self.data, self.data.samples
        naive = naive_attack(form.make(twin), samples.images, samples.labels, data.threat)
        looks = share_right(form.make(twin), naive, data, DRAWS if impostor.random else 1, "naive")
        target = asked_cold(form, twin)
        judge = Judge(asked_cold(form, twin), 128, impostor.random)
        stages = (*attacks_on(impostor, form, twin, data), *black_box())
        found = strongest(stages, target, judge, samples, data.threat)
        if impostor.random:
            union = share_right(target, found.x, data, DRAWS, "fresh")
        else:
            union = (found.standing & judge(samples.moved(found.x)).right).double()
        reference = self._reference(impostor, form)
        seen = Seen(samples, samples.moved(found.x), data.threat)
        copies = (form.make(twin), Judge(form.make(twin), 128), Judge(form.make(twin), 128))
        flags = raised_flags(*copies, seen, self.audits)
        share = looks.mean().item()
        return Row(impostor.name, form.name, share, union.tolist(), reference, flags)

    def _reference(self, impostor: Impostor, form: Form) -> list[float]:
        """What the reference attack leaves, judged as the union is; empty if there is none."""
        network = network_of(self.twin)
        assert isinstance(network, DEQClassifier)
        functions = opened(network)
        name = "twin" if impostor is TWIN else impostor.name
        if name not in functions:
            return []
        path = self._path(impostor, "reference.safetensors")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"x": self._refer(functions[name], impostor)}, path)
        x, data, target = load_file(path)["x"], self.data, asked_cold(form, self.twin)
        if impostor.random:
            return share_right(target, x, data, DRAWS, "fresh").tolist()
        return Judge(target, 128)(data.samples.moved(x)).right.double().tolist()

    def _refer(self, function: Opened, impostor: Impostor) -> Tensor:
        """The reference's inputs, with `MORE` times the gradients of the dearest form's union."""
        spent = [attacks_on(impostor, form, self.twin, self.data) for form in impostor.forms]
        gradients = max(MORE * max(sum(map(gradients_of, stages)) for stages in spent), 500)
        form, data, draws = impostor.forms[0], self.data, 10 if impostor.random else 1

        def score(x: Tensor) -> Tensor:
            target = asked_cold(form, self.twin)
            return share_right(target, x, data, draws, "reference").float()

        samples, radius = data.samples, float(data.threat.eps)
        return reference_attack(function, score, samples.images, samples.labels, radius, gradients)

    def _path(self, impostor: Impostor, ending: str) -> Path:
        targets = [asked_cold(form, self.twin) for form in impostor.forms]
        union = [white_box(target, impostor.random) for target in targets], black_box()
        name, size = impostor.name.replace(" ", "-"), len(self.data.samples)
        return self.folder / f"{name}-{size}-{digest(union, 8)}-{ending}"


def line(result: Row, impostor: Impostor, form: Form, twin: Row) -> str:
    """The row as Markdown, with its verdict."""
    union = np.array(result.union)
    bar = np.array(twin.union if impostor.keeps_labels else result.reference)
    excess, low = 100 * (union.mean() - bar.mean()), 100 * _lower(union, bar, impostor.random)
    close = (low if impostor.random else excess) <= LIMIT
    verdict = "yes" if close and (form.flag in result.flags or not form.flag) else "NO"
    reference = f"{np.mean(result.reference):.1%}" if result.reference else "-"
    return (
        f"| {result.trick} | {result.form} | {np.mean(twin.union):.1%} | {result.looks:.1%} "
        f"| {union.mean():.1%} | {reference} | {excess:+.1f} | {low:+.1f} | {form.flag or '-'} "
        f"| {', '.join(result.flags) or '-'} | {verdict} |"
    )


def _lower(ours: np.ndarray, bar: np.ndarray, random: bool) -> float:
    """The one-sided 95 % lower bound of a paired difference of shares."""
    if not random:
        return newcombe(*paired_counts(ours > 0.5, bar > 0.5), confidence=0.90).low
    difference = ours - bar
    return float(difference.mean() - 1.645 * difference.std(ddof=1) / math.sqrt(len(difference)))


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--images", type=int, default=500, help="how many test images")
    parser.add_argument("--results", default="results", help="the store of the trained network")
    parser.add_argument("--only", nargs="+", default=[], help="only tricks of these names")
    parser.add_argument("--audits", nargs="*", default=AUDITS, help="those to be run on each row")
    parser.add_argument("--cache", type=Path, default=MEASURED / "impostors")
    options = parsed(parser)
    twin, test = load_model("vanilla", options.results), Digits().load().test.take(options.images)
    data = Slice(test.samples(), Linf(RADIUS))
    chosen = [each for each in ZOO if not options.only or each.name in options.only]
    pairs = [(each, form) for each in (TWIN, *chosen) for form in each.forms]
    audits = [find("audits", name)() for name in options.audits]
    bench = Bench(twin, data, audits, options.cache / fingerprint(twin.classifier))
    rows = [bench.cached(*pair) for pair in tqdm(pairs)]
    lines = [line(found, *pair, rows[0]) for found, pair in zip(rows, pairs, strict=True)]
    clean = share_right(twin, test.images, data, 1, "clean").mean().item()
    page = "\n".join(
        [
            "# Impostors\n",
            f"`vanilla` on {len(test)} test digits, clean {clean:.1%}; Linf {RADIUS}.\n",
            HEADER,
            *lines,
            "\n## What each hides\n",
            *(f"- {each.name}: {each.hides}." for each in chosen),
        ]
    )
    publish(page, options)


if __name__ == "__main__":
    main()
