"""Do verdicts depend on how images are batched, or only on the attack's draws?

    python -m benchmarks.agreement [--entrant CHAIN ...] [--images 200] [--out FILE]

Every random draw of our attacks is keyed by image, so that batch size and row order leave it alone;
floating-point sums do not know that, and a row on the edge may fall to either side. So each attack
is run whole, in batches of 32, in reversed order, and under another seed, and the share of images
with the verdict of the first run stands beside one another: the first two may not be lower than the
last.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm

from benchmarks.pages import page_parser, parsed, publish
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.base import Attack
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.jiio import JIIO
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.data.base import Split
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.objectives.dlr import DLR
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent
from robustdeq.surrogates.defended import Defended
from robustdeq.threats.base import ThreatModel

ROOT = Path(__file__).parents[1]
PROTOCOL = "digits-linf-v2"
ENTRANTS = ("adversarial-training/vanilla", "trades/vanilla")
WHOLE, PART = 128, 32
ATTACKS: dict[str, tuple[Attack, Defended]] = {
    "PGD-20": (PGD(steps=20), Defended()),
    "APGD-CE-20": (APGD(steps=20), Defended()),
    "APGD-T 3x10": (APGD(steps=10, targets=3, objective=DLR()), Defended()),
    "FAB-T 3x10": (FAB(steps=10, targets=3), Defended()),
    "Square-200": (Square(queries=200), Defended()),
    "JIIO-40": (JIIO(rounds=40), Defended(mode="fast")),
}
HEADER = ("entrant", "attack", "robust", "batches of 32", "reversed", "another seed")


@dataclass(frozen=True)
class Case:
    """What is attacked, and the images."""

    target: DefendedModel
    split: Split
    threat: ThreatModel

    def right(
        self, attack: Attack, view: Defended, order: Tensor, batch: int, seed: int = 0
    ) -> Bool[Tensor, " n"]:
        """Who withstands an attack on the rows in some order, so many at a time."""
        noise, x = NoiseStream(seed).child("attack"), self.split.images.clone()
        approach = view.bind(self.target, noise)
        for rows in order.split(batch):
            some = self.split.samples().select(rows)
            x[rows] = attack.perturb(approach, some, self.threat, noise)[0]
        judge = Judge(self.target, WHOLE)
        return judge(self.split.samples().moved(x)).right


def line(chain: str, name: str, case: Case) -> list[str]:
    """One attack: its figure, and how often each other run agrees."""
    attack, view = ATTACKS[name]
    order = torch.arange(len(case.split))
    first = case.right(attack, view, order, WHOLE)
    others = (
        case.right(attack, view, order, PART),
        case.right(attack, view, order.flip(0), WHOLE),
        case.right(attack, view, order, WHOLE, seed=1),
    )
    shares = [per_cent((first == other).double().mean().item()) for other in others]
    return [chain, name, per_cent(first.double().mean().item()), *shares]


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--entrant", nargs="+", default=list(ENTRANTS), metavar="CHAIN")
    parser.add_argument("--images", type=int, default=200, help="how many test images")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parsed(parser)
    protocol = load_protocol(PROTOCOL)
    test = protocol.load_data().test.take(options.images)
    rows = []
    for chain in options.entrant:
        case = Case(load_model(chain, options.results, PROTOCOL), test, protocol.threat)
        rows += [line(chain, name, case) for name in tqdm(ATTACKS, desc=chain, leave=False)]
    page = (
        "# Do verdicts depend on the batch?\n\n"
        f"{len(test)} test digits; per cent of images with the verdict of the first run, which "
        f"takes {WHOLE} images at a time.\n\n" + table(HEADER, rows, left=HEADER[:2])
    )
    publish(page, options)


if __name__ == "__main__":
    main()
