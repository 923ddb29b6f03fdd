"""Does an input that moves along the dynamics lower the entropy of the answer, and what for?

    python -m benchmarks.entropy [--seeds 3] [--images 100] [--results DIR] [--out PAGE]

Entropy reduction around the committed `trades/random-states/vanilla`, and its controls on the same
weights: no updates, random signs, the opposite signs. Each answers the clean test images, inputs
made for the network without it, and inputs made for itself straight through its updates; both are
found by Auto-PGD on the margin. What is read is the entropy of the answer and whether it is right.
Finished seeds are kept below `runs/entropy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims import CLAIM, paired, spread, tally, verdict
from benchmarks.kept import ROOT, RUNS, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq.attacks.apgd import APGD
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.entropy_reduction import EntropyReduction
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.objectives.margin import Margin
from robustdeq.results.formats.markdown import table
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended

PROTOCOL = "digits-linf-v2"
BASE = "trades/random-states/vanilla"
ATTACK = APGD(steps=30, objective=Margin())
FIELDS: Mapping[str, dict[str, Any]] = {
    "no updates": {"updates": 0},
    "lower": {},
    "random signs": {"entropy": "random"},
    "raise": {"entropy": "raise"},
}
CONTROL, DEFENSE = "no updates", "lower"
INPUTS = ("clean", "made for the base", "made for itself")
HEADER = ("inputs", "updates", "entropy, nats", "right, per cent")
Figures = dict[str, dict[str, dict[str, float]]]  # inputs -> updates -> figure -> value


@dataclass(frozen=True)
class Plan:
    """How much is measured, where the networks are, and where figures are kept."""

    seeds: int = 3
    images: int = 100
    results: Path = ROOT / "results"
    folder: Path = RUNS / "entropy"

    def figures(self) -> list[Figures]:
        """Those of every training seed; what is missing is measured."""
        return [
            kept(self.folder / f"{seed}-{self.images}.json", lambda seed=seed: self.measure(seed))
            for seed in range(self.seeds)
        ]

    def measure(self, seed: int) -> Figures:
        """Every kind of updates on every kind of inputs."""
        base = load_model(BASE, self.results, PROTOCOL, seed)
        protocol = load_protocol(PROTOCOL)
        test = protocol.load_data().test.take(self.images)
        x, y, rows = test.images, test.labels, torch.arange(len(test))

        def made_for(target: DefendedModel) -> Tensor:
            approach, noise = Defended().bind(target, NoiseStream(0)), NoiseStream(0)
            return ATTACK.perturb(approach, Samples(x, y, rows), protocol.threat, noise)[0]

        shared, found = {"clean": x, "made for the base": made_for(base)}, {}
        for name, fields in FIELDS.items():
            target = replace(base, defense=EntropyReduction(base.defense, **fields))
            for inputs, each in {**shared, "made for itself": made_for(target)}.items():
                answer = target.predict(each, rows, NoiseStream(1))
                entropy = torch.special.entr(answer.logits.softmax(1)).sum(1)
                found.setdefault(inputs, {})[name] = {
                    "entropy": entropy.double().mean().item(),
                    "right": (answer.labels == y).double().mean().item(),
                }
        return found


def lines(figures: list[Figures]) -> list[list[str]]:
    """Mean and standard deviation over the seeds, inputs by inputs."""
    return [
        [
            inputs,
            name,
            spread([seed[inputs][name]["entropy"] for seed in figures], 2),
            spread([100 * seed[inputs][name]["right"] for seed in figures], 1),
        ]
        for inputs in INPUTS
        for name in FIELDS
    ]


def claims(figures: list[Figures]) -> list[list[str]]:
    """What is said of the updates, each against none on the same inputs and seeds."""
    found = []
    for inputs in INPUTS[:2]:
        found += [
            _line(f"lower: entropy below no updates, {inputs}", figures, inputs, DEFENSE, -1),
            _line(f"raise: entropy above no updates, {inputs}", figures, inputs, "raise", +1),
        ]
    for inputs in INPUTS[1:]:
        claim = f"lower: points above no updates, {inputs}"
        found.append(_line(claim, figures, inputs, DEFENSE, +1, "right", 100.0))
    return found


def _line(
    claim: str, figures: list[Figures], inputs: str, name: str, claimed: int,
    figure: str = "entropy", unit: float = 1.0,
) -> list[str]:  # fmt: skip
    seeds = [seed[inputs] for seed in figures]
    gaps = np.array([seed[name][figure] - seed[CONTROL][figure] for seed in seeds])
    return [claim, *verdict(*paired(gaps), claimed, unit)]


_PAGE = """# Updates of the input along the dynamics

Entropy reduction around `{base}`: {plan.images} test digits, {plan.seeds} training seeds,
Auto-PGD of {steps} steps on the margin. The updates stay within the attack's radius of the image
received.

`python -m benchmarks.entropy`

{table}

95 % t intervals of differences paired by seed, not corrected for the number of claims:

{claims}

{tally}
"""


def page(plan: Plan) -> str:
    """The report in Markdown; measures what is missing."""
    figures = plan.figures()
    said = claims(figures)
    return _PAGE.format(
        base=BASE,
        plan=plan,
        steps=ATTACK.steps,
        table=table(HEADER, lines(figures), left=HEADER[:2]),
        claims=table(CLAIM, said, left=(CLAIM[0], CLAIM[-1])),
        tally=tally(said),
    )


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds, at least 2")
    parser.add_argument("--images", type=int, default=100, help="how many test images")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parsed(parser, least_seeds=2)
    publish(page(Plan(options.seeds, options.images, options.results)), options)


if __name__ == "__main__":
    main()
