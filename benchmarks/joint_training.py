"""Is adversarial training by joint inference and input optimisation as good as by PGD?

    python -m benchmarks.joint_training [--seeds 5] [--images 500] [--results DIR] [--out PAGE]

`jiio-training/vanilla` and `adversarial-training/vanilla` by the recipes of digits-linf-v2, each
under the same training seeds. Every network is attacked by Auto-PGD on the margin, through its
exact view, and judged as deployed. The two are called equivalent only if the 90 % interval of the
difference of their robust accuracies, paired by seed, lies within 3 points: two one-sided tests at
5 % (Schuirmann 1987). Weights that DIR has are taken from there; others are trained into
`runs/joint-training`, where figures are kept, too, so that the same command goes on.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.claims import paired, spread
from benchmarks.kept import ROOT, RUNS, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq import notebook
from robustdeq.attacks.apgd import APGD
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.entrant import Entrant
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import find_entry
from robustdeq.objectives.margin import Margin
from robustdeq.results.formats.markdown import table
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import digest
from robustdeq.training.trained import ensure_trained, find_trained, load_model

PROTOCOL = load_protocol("digits-linf-v2")
CHAINS = ("jiio-training/vanilla", "adversarial-training/vanilla")
ATTACK = APGD(steps=30, objective=Margin())
WITHIN, CONFIDENCE = 3.0, 0.90  # points, and of the interval
HEADER = ("training", "clean", "robust", "each seed")


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where it is kept.

    Attributes:
        results: a store that may have some of the weights.
    """

    seeds: int = 5
    images: int = 500
    results: Path = ROOT / "results"
    epochs: int | None = None
    folder: Path = RUNS / "joint-training"

    def figures(self, chain: str) -> dict[str, np.ndarray]:
        """Clean and robust accuracy in per cent, seed by seed."""
        each = [self._measured(self._entrant(chain, seed)) for seed in range(self.seeds)]
        return {name: np.array([figure[name] for figure in each]) for name in each[0]}

    def _entrant(self, chain: str, seed: int) -> Entrant:
        found = PROTOCOL.entered(find_entry(chain, PROTOCOL.name).entrant, PROTOCOL.load_data())
        recipe = replace(found.recipe, epochs=self.epochs or found.recipe.epochs)
        return replace(found, recipe=recipe, seed=seed)

    def _measured(self, entrant: Entrant) -> dict[str, float]:
        def measure() -> dict[str, float]:
            target, test = self._trained(entrant), PROTOCOL.load_data().test.take(self.images)
            clean = target.classifier.predict(test.images).labels == test.labels
            eps = str(PROTOCOL.threat.eps)
            _, right = notebook.attack(target, test.images, test.labels, ATTACK, eps)
            shares = (100 * flags.double().mean().item() for flags in (clean, right))
            return dict(zip(("clean", "robust"), shares, strict=True))

        return kept(self.folder / f"{entrant.id}-{digest(ATTACK)}-{self.images}.json", measure)

    def _trained(self, entrant: Entrant) -> DefendedModel:
        data, store, device = PROTOCOL.load_data(), ResultStore(self.results), torch.device("cpu")
        if find_trained(store, entrant) is None:
            store = ResultStore(self.folder)
            ensure_trained(store, entrant, data, device)
        return load_model(store, entrant, Task(data.shape, data.classes), device)


def page(plan: Plan) -> str:
    """The report in Markdown; trains and attacks what is missing."""
    figures = {chain: plan.figures(chain) for chain in CHAINS}
    rows = [
        [chain, spread(f["clean"], 1), spread(f["robust"], 1),
         ", ".join(f"{value:.1f}" for value in f["robust"])]
        for chain, f in figures.items()
    ]  # fmt: skip
    ours, theirs = (f["robust"] for f in figures.values())
    mean, interval = paired(ours - theirs, CONFIDENCE)
    same = interval.low > -WITHIN and interval.high < WITHIN
    return (
        "# Adversarial training: joint iteration against PGD\n\n"
        f"{plan.images} test digits, Linf {PROTOCOL.threat.eps}, {plan.seeds} training seeds; "
        f"accuracies in per cent, mean ± standard deviation. One attack, Auto-PGD with "
        f"{ATTACK.steps} steps on the margin: an upper bound, alike for both.\n\n"
        f"`python -m benchmarks.joint_training`\n\n{table(HEADER, rows, left=HEADER[:1])}\n\n"
        f"Difference of robust accuracy, paired by seed: {mean:+.2f} points, "
        f"{CONFIDENCE:.0%} interval {interval.low:+.2f} to {interval.high:+.2f}. Within "
        f"{WITHIN:.0f} points, and so equivalent: {'yes' if same else 'no'}.\n"
    )


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="training seeds, at least 2")
    parser.add_argument("--images", type=int, default=500, help="how many test images")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parsed(parser, least_seeds=2)
    publish(page(Plan(options.seeds, options.images, options.results)), options)


if __name__ == "__main__":
    main()
