"""Does a protocol's union of columns miss what plain AutoAttack or brute force finds?

    python -m benchmarks.union [--entrant CHAIN ...] [--images 200] [--brute 100] [--results DIR]
        [--cache DIR] [--out PAGE]

The union is read from the stored records of digits-linf-v2, of the first training seed. Against it
stand, on the same weights and the first images, AutoAttack `standard` and `plus` as its authors run
it, on the exact view, and a brute-force attack that shares no code with the union: 4,000 gradients
an image, through 200 Picard steps written out, in restarts of 200 with cross-entropy, the margin
and targeted margins in turn. All are judged by the deployed predictor. Two hundred images at a
time, fifty by brute force, are attacked, kept below `results/measured/union` under the digest of
the weights, and not attacked again; another folder, `--cache DIR`, measures them anew.
"""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.kept import MEASURED, ROOT, fingerprint, kept
from benchmarks.pages import page_parser, parsed, publish
from benchmarks.reference_attacks import reference_attack, unrolled
from robustdeq.attacks.autoattack import AutoAttack
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.results.boards.evidence import gather
from robustdeq.results.formats.markdown import table
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import per_cent
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended
from robustdeq.threats.base import ThreatModel

PROTOCOL = "digits-linf-v2"
ENTRANTS = ("adversarial-training/vanilla", "trades/vanilla", "explicit")
STEPS, ASCENT, GRADIENTS = 200, 200, 4000
HEADER = ("entrant", "against", "images", "union", "it", "only it breaks", "only the union")


@dataclass(frozen=True)
class Case:
    """An entrant's weights, the images and the threat."""

    chain: str
    target: DefendedModel
    x: Tensor
    y: Tensor
    threat: ThreatModel

    def take(self, rows: Tensor) -> "Case":
        """Some of the images."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def right(self, x: Tensor) -> Tensor:
        """(n,) whom the deployed predictor gets right."""
        return Judge(self.target, 128)(Samples.of(x, self.y)).right


@dataclass(frozen=True)
class Opponent:
    """Whom the union is held against, and how many images he attacks at once."""

    name: str
    attack: Callable[[Case], Tensor]  # -> images (n, *image)
    at_once: int = 200


def union(store: ResultStore, chain: str, images: int) -> np.ndarray:
    """(images,) who survives all required columns, by the stored records.

    Raises:
        SpecError: there are none of this entrant.
    """
    for evidence in gather(store, store.protocol(PROTOCOL)):
        if evidence.entrant == chain and evidence.members[0].seed == 0:
            return evidence.members[0].protocol[:images] == 1
    raise SpecError(f"no records of {chain} under {PROTOCOL}; `robustdeq run` makes some")


def automatic(case: Case, attack: AutoAttack) -> Tensor:
    """What AutoAttack leaves: images (n, *image)."""
    approach = Defended().bind(case.target, NoiseStream(0))
    samples, noise = Samples.of(case.x, case.y), NoiseStream(0).child(attack.variant)
    return attack.perturb(approach, samples, case.threat, noise)[0]


def brute_force(case: Case) -> Tensor:
    """What backpropagation through 200 steps, or a network without any, leaves of the images."""
    model = case.target.classifier

    def function(x: Tensor, restart: int, chance: torch.Generator) -> Tensor:
        logits = unrolled(model, x, STEPS) if isinstance(model, DEQClassifier) else model(x)
        return logits[None]

    # What is left of a gradient after 200 contractions is too small for normal floats, and a CPU is
    # slow at the others; rounded to 0, they change no bit of the sum.
    torch.set_flush_denormal(True)
    try:
        return reference_attack(
            function, lambda x: case.right(x).double(), case.x, case.y, float(case.threat.eps),
            GRADIENTS, ascent=ASCENT,
        )  # fmt: skip
    finally:
        torch.set_flush_denormal(False)


def survivors(case: Case, opponent: Opponent, cache: Path) -> np.ndarray:
    """(n,) who survives an attack; each chunk of images is kept on disk once it is attacked."""

    def survive(part: Case) -> list[bool]:
        return (part.right(opponent.attack(part)) & part.right(part.x)).tolist()

    weights = fingerprint(case.target.classifier)
    folder, left = cache / f"{case.chain.replace('/', '+')}-{weights}", []
    chunks = torch.arange(len(case.x)).split(opponent.at_once)
    for rows in tqdm(chunks, desc=f"{case.chain} {opponent.name}"):
        path = folder / f"{opponent.name}-{int(rows[0])}-{int(rows[-1])}.json"
        left += kept(path, lambda rows=rows: survive(case.take(rows)))
    return np.array(left)


def line(case: Case, known: np.ndarray, opponent: Opponent, cache: Path) -> list[str]:
    """A line of the table; `known` says who survives the union."""
    left = survivors(case, opponent, cache)
    known = known[: len(left)]
    missed = ", ".join(map(str, np.flatnonzero(known & ~left).tolist())) or "none"
    shares = per_cent(float(known.mean())), per_cent(float(left.mean()))
    only = str(int((left & ~known).sum()))
    return [case.chain, opponent.name, str(len(left)), *shares, missed, only]


def lines(options: Namespace) -> list[list[str]]:
    """The table's lines; what is missing of the attacks is run."""
    store, protocol, found = ResultStore(options.results), load_protocol(PROTOCOL), []
    test = protocol.load_data().test
    for chain in options.entrant:
        known = union(store, chain, len(test))
        target = load_model(chain, options.results, PROTOCOL)
        whole = Case(chain, target, test.images, test.labels, protocol.threat)
        case = whole.take(torch.arange(options.images))
        for attack in (AutoAttack(), AutoAttack("plus")):
            run = partial(automatic, attack=attack)
            opponent = Opponent(f"AutoAttack {attack.variant}", run)
            found.append(line(case, known, opponent, options.cache))
        if options.brute:
            fewer = whole.take(torch.arange(options.brute))
            opponent = Opponent("brute force", brute_force, at_once=50)
            found.append(line(fewer, known, opponent, options.cache))
    return found


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--entrant", nargs="+", default=list(ENTRANTS), metavar="CHAIN")
    parser.add_argument("--images", type=int, default=200, help="for AutoAttack")
    parser.add_argument("--brute", type=int, default=100, help="for brute force; 0 leaves it out")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--cache", type=Path, default=MEASURED / "union")
    options = parsed(parser)
    page = (
        "# Does the union miss what others find?\n\n"
        f"Test digits under the threat of `{PROTOCOL}`, first training seed. Per cent of the "
        "images that the union of its required columns leaves, and that another attack on the "
        "same weights leaves; the positions of those that only the other one breaks, and how many "
        "only the union does.\n\n" + table(HEADER, lines(options), left=(*HEADER[:2], HEADER[-2]))
    )
    publish(page, options)


if __name__ == "__main__":
    main()
