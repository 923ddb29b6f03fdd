"""Does Jacobian regularisation keep a multiscale DEQ whole when its solver is stopped early?

    python -m benchmarks.early_stop [--seeds 5] [--out PAGE]

`mdeq` by its recipe in digits-linf-v2, clean-trained without a penalty, with the penalty of the
2021 paper on a share of the rows, and with the one at every step that is this package's default.
The same weights then answer with fewer and fewer solver steps. What is finished is kept below
`runs/early-stop`; the same command goes on with the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.claims import CLAIM, paired, spread, tally, verdict
from benchmarks.kept import RUNS, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq.defenses.base import Defense
from robustdeq.defenses.jacobian_penalty import JacobianPenalty
from robustdeq.defenses.mdeq import MDEQ
from robustdeq.entrant import Entrant
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import find_entry
from robustdeq.results.formats.markdown import table
from robustdeq.training.central import train
from robustdeq.training.clients import cut

PROTOCOL = load_protocol("digits-linf-v2")
BUDGETS = (1, 2, 3, 4, 6, 8, 12, 18, 60)  # solver steps; the last is the deployed one
PUBLISHED = 6  # evaluations, of table 2
FREE = MDEQ(jacobian_penalty=0.0)
NETWORKS: dict[str, Defense] = {
    "no penalty": FREE,
    "penalty of a quarter of the rows": JacobianPenalty(FREE),
    "penalty at every step": MDEQ(),
}
Figures = dict[str, list[float]]  # by budget


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where it is kept.

    Attributes:
        epochs: in place of the line-up's, for a trial run.
    """

    seeds: int = 5
    epochs: int | None = None
    folder: Path = RUNS / "early-stop"

    def figures(self, defense: Defense) -> list[Figures]:
        """Of each seed."""
        recipe = find_entry("mdeq", PROTOCOL.name).entrant.against(PROTOCOL.threat).recipe
        recipe = replace(recipe, epochs=self.epochs or recipe.epochs)
        entrants = [Entrant(defense, recipe, seed) for seed in range(self.seeds)]
        return [kept(self.folder / f"{e.id}.json", lambda e=e: measure(e)) for e in entrants]


def measure(entrant: Entrant) -> Figures:
    """Train; accuracy on the test images and median residual there, by budget."""
    data = PROTOCOL.load_data()
    model, _ = train(entrant, data, torch.device("cpu"))
    found: Figures = {"right": [], "residual": []}
    for steps in BUDGETS:
        answer = cut(model, steps).predict(data.test.images)
        found["right"].append((answer.labels == data.test.labels).double().mean().item())
        found["residual"].append(answer.residual.median().item())
    return found


def stopping_claims(lost: Mapping[str, np.ndarray]) -> list[list[str]]:
    """What stopping costs (seeds, budgets), without a penalty minus with one."""
    (free, reference), *others = lost.items()
    lines = []
    for name, each in others:
        for number, steps in enumerate(BUDGETS[:-1]):
            gap = paired((reference - each)[:, number])
            claim = f"{name}: loses less than {free} at {steps} steps"
            lines.append([claim, *verdict(*gap, 1, unit=100)])
    return lines


def published_claims(
    right: Mapping[str, np.ndarray], residual: Mapping[str, np.ndarray]
) -> list[list[str]]:
    """With a penalty minus without: accuracy at the published budget, residual at the deployed."""
    free, *others = right
    lines = []
    for name in others:
        gap = paired((right[name] - right[free])[:, BUDGETS.index(PUBLISHED)])
        claim = f"{name}: points above {free} at {PUBLISHED} steps"
        lines.append([claim, *verdict(*gap, 1, unit=100)])
        gap = paired(np.log10(residual[name] / residual[free])[:, -1])
        claim = f"{name}: decades of residual below {free}, whole budget"
        lines.append([claim, *verdict(*gap, -1)])
    return lines


def page(plan: Plan) -> str:
    """The report in Markdown; trains what is missing."""
    figures = {name: plan.figures(defense) for name, defense in NETWORKS.items()}
    right = {name: np.array([f["right"] for f in each]) for name, each in figures.items()}
    rows = [[name, *(spread(100 * column, 1) for column in right[name].T)] for name in figures]
    residual = {name: np.array([f["residual"] for f in each]) for name, each in figures.items()}
    residuals = [
        [name, *(f"{value:.1e}" for value in np.median(each, axis=0))]
        for name, each in residual.items()
    ]
    lost = {name: each[:, -1:] - each for name, each in right.items()}
    claims, at_one_budget = stopping_claims(lost), published_claims(right, residual)
    header = ("training", *map(str, BUDGETS))
    return _PAGE.format(
        plan=plan,
        accuracy=table(header, rows, left=header[:1]),
        residuals=table(header, residuals, left=header[:1]),
        claims=table(CLAIM, claims, left=(CLAIM[0], CLAIM[-1])),
        tally=tally(claims),
        published=table(CLAIM, at_one_budget, left=(CLAIM[0], CLAIM[-1])),
    )


_PAGE = """# A multiscale DEQ stopped early, with and without Jacobian regularisation

`mdeq`, clean-trained on digits by its recipe, {plan.seeds} training seeds; 500 test digits. The
same weights answer after at most so many solver steps; a row that has met its tolerance stops
before. Bai, Koltun and Kolter (2021, table 2) publish for CIFAR-10, stopped after 6 evaluations:
89.1 % of 93.6 % without the penalty, and 93.1 % with it.

`python -m benchmarks.early_stop`

Test accuracy in per cent by solver steps, mean ± standard deviation over seeds:

{accuracy}

Median residual |f(z) - z| / |f(z)| over images and seeds:

{residuals}

What stopping costs, without the penalty minus with it, in points; 95 % t intervals of differences
paired by seed, not corrected for the number of claims ("not reproduced at this scale": theirs holds
0):

{claims}

{tally}

At one budget, with the penalty minus without it, as the published figures compare; and how far the
deployed solve still is from its end:

{published}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="training seeds, at least 2")
    options = parsed(parser, least_seeds=2)
    publish(page(Plan(options.seeds)), options)


if __name__ == "__main__":
    main()
