"""Does the union unmask defences that only look robust, and do the flags say so?

    python -m benchmarks.impostors [--images 500] [--only NAME ...] [--out FILE]

Every impostor wears the committed `vanilla` network on digits under Linf 3/16, its twin, which has
hardly any robustness. A trick that keeps every label is measured against the union on the twin; one
that changes the function against a reference attack that has read its source and spends at least
five times the union's gradients. At most 3 points above that, and the named flag raised: unmasked.
Random impostors count the share of fresh draws that are right, and the one-sided 95 % lower bound
of their excess. A finished row is kept below `runs/impostors`, under the digest of the union, and
not computed again.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.impostor_flags import Seen, raised_flags
from benchmarks.reference_attacks import opened, reference_attack
from benchmarks.strength import RADIUS
from robustdeq.audits.base import Audit
from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import Stage
from robustdeq.evaluation.union import black_box, runnable, strongest, white_box
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.registry import find
from robustdeq.results.statistics import newcombe, paired_counts
from robustdeq.spec import digest
from robustdeq.testing.impostors import ZOO, Form, Impostor
from robustdeq.testing.impostors.appearance import naive_attack
from robustdeq.testing.impostors.base import network_of
from robustdeq.threats.linf import Linf

DRAWS = 50  # fresh ones, of random impostors
AUDITS = ("gradient", "logit-scale")  # the cheap ones; the others attack a target all over again
LIMIT = 3.0  # points
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
    """Labelled images, their positions, and the threat."""

    x: Tensor
    y: Tensor
    rows: Tensor
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
    gradients: int
    flags: list[str]


def gradients_of(stage: Stage) -> int:
    """The most gradients one image can get from a stage, with the rerun of unconfirmed rows."""
    attack: Any = stage.attack
    sizes = {f.name: getattr(attack, f.name) for f in fields(attack)}
    each = [sizes.get(name) or 1 for name in ("targets", "restarts")]
    return 2 * (sizes.get("steps") or 0) * math.prod(each)


def share_right(target: DefendedModel, x: Tensor, data: Slice, draws: int, name: str) -> Tensor:
    """(n,) how often the deployed predictor is right, over draws of its own noise."""
    streams = [NoiseStream(draw).child(name) for draw in range(draws)]
    right = [target.predict(x, data.rows, stream).labels == data.y for stream in streams]
    return torch.stack(right).double().mean(0)


def row(
    impostor: Impostor, form: Form, twin: DefendedModel, data: Slice, audits: Sequence[Audit]
) -> Row:
    """Attack one form of a trick by every means, and look for its flag."""
    target = form.make(twin)
    naive = naive_attack(target, data.x, data.y, data.threat)
    looks = share_right(target, naive, data, DRAWS if impostor.random else 1, "naive")
    target, judge = form.make(twin), Judge(form.make(twin), 128)
    stages = runnable(white_box(target, impostor.random), target, data.x, data.y, data.rows)
    found = strongest((*stages, *black_box()), target, judge, data.x, data.y, data.threat)
    standing = found.standing & judge(found.x, data.y, data.rows).right
    union, gradients = standing.double(), sum(map(gradients_of, stages))
    if impostor.random:
        union = share_right(target, found.x, data, DRAWS, "fresh")
    reference = _referee(impostor, form, twin, data, MORE * gradients)
    seen = Seen(data.x, data.y, data.rows, found.x, data.threat)
    copies = (form.make(twin), Judge(form.make(twin), 128), Judge(form.make(twin), 128))
    flags = raised_flags(*copies, seen, audits)
    return Row(
        impostor.name, form.name, looks.mean().item(), union.tolist(), reference, gradients, flags
    )


def _referee(
    impostor: Impostor, form: Form, twin: DefendedModel, data: Slice, gradients: int
) -> list[float]:
    """What the reference attack leaves, judged as the union is; empty if there is none."""
    functions = opened(network_of(twin))
    name = "twin" if impostor is TWIN else impostor.name
    if name not in functions:
        return []
    draws = 10 if impostor.random else 1

    def score(x: Tensor) -> Tensor:
        return share_right(form.make(twin), x, data, draws, "reference").float()

    eps = float(data.threat.eps)
    x = reference_attack(functions[name], score, data.x, data.y, eps, max(gradients, 500))
    if impostor.random:
        return share_right(form.make(twin), x, data, DRAWS, "fresh").tolist()
    return Judge(form.make(twin), 128)(x, data.y, data.rows).right.double().tolist()


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


def cached(
    impostor: Impostor,
    form: Form,
    twin: DefendedModel,
    data: Slice,
    folder: Path,
    audits: Sequence[Audit],
) -> Row:
    """The row of an earlier run, or a new one, which is kept."""
    attacks = digest((white_box(form.make(twin), impostor.random), black_box()), 8)
    path = folder / f"{impostor.name.replace(' ', '-')}-{form.name}-{len(data.y)}-{attacks}.json"
    if not path.exists():
        result = row(impostor, form, twin, data, audits)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(result)), encoding="utf-8")
        part.replace(path)
    return Row(**json.loads(path.read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=500, help="how many test images")
    parser.add_argument("--results", default="results", help="the store of the trained network")
    parser.add_argument("--only", nargs="+", default=[], help="only tricks of these names")
    parser.add_argument("--audits", nargs="*", default=AUDITS, help="those to be run on each row")
    parser.add_argument("--cache", type=Path, default=Path("runs/impostors"))
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    twin, test = load_model("vanilla", options.results), Digits().load().test.take(options.images)
    data = Slice(test.images, test.labels, torch.arange(len(test)), Linf(RADIUS))
    chosen = [each for each in ZOO if not options.only or each.name in options.only]
    pairs = [(each, form) for each in (TWIN, *chosen) for form in each.forms]
    audits = [find("audits", name)() for name in options.audits]
    rows = [cached(*pair, twin, data, options.cache, audits) for pair in tqdm(pairs)]
    lines = [line(found, *pair, rows[0]) for found, pair in zip(rows, pairs, strict=True)]
    clean = share_right(twin, data.x, data, 1, "clean").mean().item()
    text = "\n".join(
        [
            "# Impostors\n",
            f"`vanilla` on {len(test)} test digits, clean {clean:.1%}; Linf {RADIUS}.\n",
            HEADER,
            *lines,
            "\n## What each hides\n",
            *(f"- {each.name}: {each.hides}." for each in chosen),
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
