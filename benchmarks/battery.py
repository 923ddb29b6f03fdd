"""Does the whole battery tell impostors from honest entrants?

    python -m benchmarks.battery [--images 25] [--attack-seeds 0 2] [--only NAME ...] [--finished]
        [--out FILE]

Every impostor, in each of its forms around the committed `vanilla` network on digits, and ten
committed weights of honest entrants, are audited as `robustdeq audit` does, under several attack
seeds. An impostor has to raise the flag that it is named for, an honest entrant none that blocks a
rank. Finished batteries are kept below `results/measured/battery`, under the digest of the weights;
another folder, `--cache DIR`, measures them anew. One takes a minute or more; `--finished` makes
the page of those that are kept, and says how many are missing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.kept import MEASURED, fingerprint, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq.audits.battery import examine
from robustdeq.data.base import Split
from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.column import Column
from robustdeq.notebook import load_model
from robustdeq.results.flags import find_flag
from robustdeq.results.reports.audit import verdict
from robustdeq.testing.impostors import ZOO
from robustdeq.threats.linf import Linf

LINF = Linf(Fraction(3, 16))
PROTOCOL = "digits-linf-v2"
HONEST = (
    ("explicit", 0),
    ("monotone", 1),
    ("vanilla", 0),
    ("adversarial-training/explicit", 0),
    ("adversarial-training/monotone", 0),
    ("adversarial-training/sparse-weight-tied", 1),
    ("adversarial-training/vanilla", 0),
    ("trades/vanilla", 1),
    ("jiio-training/vanilla", 2),
    ("early-state/adversarial-training/vanilla", 0),
)
HEADER = (
    "| entrant | form | attack seed | clean | after the union | flag it must raise | flags raised "
    "| verdict | as it should be |\n" + 9 * "|---" + "|"
)


@dataclass(frozen=True)
class Subject:
    """Who is audited, and the flag to be raised; "" of an honest entrant."""

    name: str
    form: str
    flag: str
    load: Callable[[], DefendedModel]


def subjects(results: str) -> Iterator[Subject]:
    """Every impostor in each of its forms, and the honest ones."""
    for impostor in ZOO:
        for form in impostor.forms:

            def dressed(form=form) -> DefendedModel:
                return form.make(load_model("vanilla", results))

            yield Subject(impostor.name, form.name, form.flag, dressed)
    for chain, seed in HONEST:

        def honest(chain=chain, seed=seed) -> DefendedModel:
            return load_model(chain, results, PROTOCOL, seed)

        yield Subject(chain, f"seed {seed}", "", honest)


def file(folder: Path, images: int, subject: Subject, seed: int) -> Path:
    """Where a finished battery is kept."""
    name = f"{subject.name} {subject.form}".replace("/", "+").replace(" ", "-")
    weights = fingerprint(subject.load().classifier)
    return folder / f"{name}-{weights}-{images}-seed-{seed}.json"


def measure(images: Split, subject: Subject, seed: int) -> dict[str, Any]:
    """What a battery finds, as plain data."""
    salt = f"{subject.name}, {subject.form}, {seed}"
    report = examine(subject.load, images.samples(), LINF, seed=seed, salt=salt)
    return {"clean": report.clean, "robust": report.robust, "flags": report.flags}


def line(subject: Subject, seed: int, found: dict[str, Any]) -> str:
    """The row as Markdown."""
    flags = found["flags"]
    quiet = not any(find_flag(name).blocking for name in flags)
    fine = subject.flag in flags if subject.flag else quiet
    return (
        f"| {subject.name} | {subject.form} | {seed} | {found['clean']:.0%} "
        f"| {found['robust']:.0%} | {subject.flag or '-'} | {', '.join(flags) or '-'} "
        f"| {verdict(flags)} | {'yes' if fine else 'NO'} |"
    )


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--images", type=int, default=25, help="how many test images")
    parser.add_argument("--attack-seeds", type=int, nargs="+", default=[0, 2], help="attack seeds")
    parser.add_argument("--results", default="results", help="the store of the trained networks")
    parser.add_argument("--only", nargs="+", default=[], help="only entrants of these names")
    parser.add_argument("--finished", action="store_true", help="measure nothing that is missing")
    parser.add_argument("--cache", type=Path, default=MEASURED / "battery")
    options = parsed(parser)
    test = Digits().load().test
    column = Column("audit", (), (0,), options.images, goal="audit", order="shuffled")
    chosen_images = column.positions(len(test))
    images = Split(test.images[chosen_images], test.labels[chosen_images])
    chosen = [s for s in subjects(options.results) if not options.only or s.name in options.only]
    pairs = [(subject, seed) for seed in options.attack_seeds for subject in chosen]
    files = {pair: file(options.cache, options.images, *pair) for pair in pairs}
    wanted = [pair for pair in pairs if files[pair].exists() or not options.finished]
    rows = [
        line(*pair, kept(files[pair], partial(measure, images, *pair))) for pair in tqdm(wanted)
    ]
    about = (
        f"{options.images} test digits, Linf {LINF.eps}; impostors around `vanilla`. "
        f"{len(rows)} of {len(pairs)} batteries are finished.\n"
    )
    publish("\n".join(["# The battery\n", about, HEADER, *rows]), options)


if __name__ == "__main__":
    main()
