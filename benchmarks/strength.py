"""Are our attacks at least as strong as the libraries', on the same weights, images and steps?

    python -m benchmarks.strength [--images 500] [--seeds 3] [--margin 0.01] [--attack FAB-T ...]

Attacked is the adversarially trained equilibrium network of the committed results, through its
defended path, or where that is not trained yet a small explicit network trained on the spot. An
image survives an attack if it survives every seed. "At least as strong": the one-sided 95 % upper
bound of ours minus theirs in robust accuracy, paired on the images, is at most the margin.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.autoattack import AutoAttack
from robustdeq.attacks.base import Attack
from robustdeq.attacks.fab import FAB
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.attacks.torchattacks import TorchAttacks
from robustdeq.data.digits import Digits
from robustdeq.errors import CheckpointError
from robustdeq.models.base import Classifier
from robustdeq.models.explicit import ExplicitClassifier
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.objectives.dlr import DLR
from robustdeq.results.boards.statistics import at_least_as_strong, newcombe, paired_counts
from robustdeq.samples import Samples
from robustdeq.surfaces.network import network_surface
from robustdeq.surrogates.defended import Defended
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.linf import Linf

RADIUS = Fraction(3, 16)
ENTRANT = "adversarial-training/vanilla"


@dataclass(frozen=True)
class Target:
    """What is attacked: some weights, their deployed predictor, and labelled images."""

    name: str
    bind: Callable[[], Approach]  # without a memory of any row
    predict: Callable[[Tensor], Tensor]  # x -> (B,) labels, cold
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Contest:
    """The same attack twice, at equal steps."""

    name: str
    ours: Attack
    theirs: Attack


def contests(threat: ThreatModel) -> list[Contest]:
    """Ours against torchattacks (PGD) and the authors' AutoAttack (all else)."""
    pgd = PGD(steps=20)
    library_pgd = TorchAttacks("PGD", (("steps", 20), ("alpha", str(pgd.step * threat.eps))))
    return [
        Contest("PGD-20", pgd, library_pgd),
        Contest("APGD-CE-100", APGD(steps=100), AutoAttack(attacks=("apgd-ce",))),
        Contest(
            "APGD-T 9x100",
            APGD(steps=100, targets=9, objective=DLR()),
            AutoAttack(attacks=("apgd-t",)),
        ),
        Contest("FAB-T 9x100", FAB(steps=100, targets=9), AutoAttack(attacks=("fab-t",))),
        Contest("Square-5000", Square(queries=5000), AutoAttack(attacks=("square",))),
    ]


def load_target(count: int, results: str) -> Target:
    """The first `count` test digits, and the network that they are to break."""
    digits = Digits().load()
    test = digits.test.take(count)
    try:
        model = load_model(ENTRANT, results)
    except CheckpointError:
        net = _trained(digits.train.images, digits.train.labels)
        return Target(
            "explicit network, digits",
            lambda: Approach(
                network_surface(lambda x, rows: net(x)),
                lambda samples: net.predict(samples.images).labels != samples.labels,
            ),
            lambda x: net.predict(x).labels,
            test.images,
            test.labels,
        )
    return Target(
        f"{ENTRANT}, digits",
        lambda: Defended().bind(model, NoiseStream(0)),
        lambda x: model.predict(x, torch.arange(len(x)), NoiseStream(1)).labels,
        test.images,
        test.labels,
    )


def survivors(attack: Attack, target: Target, threat: ThreatModel, seeds: int) -> np.ndarray:
    """(seeds, n) whether the deployed predictor still gets every candidate right."""
    rows, verdicts = torch.arange(len(target.x)), []
    for seed in range(seeds):
        noise = NoiseStream(seed)
        samples = Samples(target.x, target.y, rows)
        found = attack.perturb(target.bind(), samples, threat, noise)
        if not all(threat.contains(target.x, candidate).all() for candidate in found):
            raise AssertionError(f"{attack.plugin_name()} left the threat set")
        right = [target.predict(candidate) == target.y for candidate in found]
        verdicts.append(torch.stack(right).all(0).numpy())
    return np.stack(verdicts)


def table_row(contest: Contest, ours: np.ndarray, theirs: np.ndarray, margin: float) -> str:
    """One line of the table, from the (seeds, n) verdicts of both sides."""
    a, b = np.asarray(ours.all(0)), np.asarray(theirs.all(0))
    cells = paired_counts(a, b)
    upper = newcombe(*cells, confidence=0.90).high
    verdict = "yes" if at_least_as_strong(ours, theirs, margin) else "NO"
    return (
        f"| {contest.name} | {a.mean():.1%} | {b.mean():.1%} | {len(a)} | {len(ours)} "
        f"| {cells[2]} | {cells[1]} | {100 * upper:+.2f} | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=500, help="how many test images")
    parser.add_argument("--seeds", type=int, default=3, help="how many starts of each attack")
    parser.add_argument("--margin", type=float, default=0.01, help="of robust accuracy")
    parser.add_argument("--results", default="results", help="the store of the trained network")
    parser.add_argument("--attack", nargs="+", default=[], help="only rows whose names begin so")
    options = parser.parse_args()
    threat, target = Linf(RADIUS), load_target(options.images, options.results)
    chosen = [c for c in contests(threat) if c.name.startswith(tuple(options.attack) or "")]
    clean = (target.predict(target.x) == target.y).double().mean().item()
    lines = []
    for contest in tqdm(chosen):
        ours, theirs = (
            survivors(attack, target, threat, options.seeds)
            for attack in (contest.ours, contest.theirs)
        )
        lines.append(table_row(contest, ours, theirs, options.margin))
    print(f"{target.name}: clean {clean:.1%}; Linf {threat.eps}; margin {options.margin:.1%}\n")
    print(
        "| attack | robust, ours | robust, theirs | n | seeds | only ours broke "
        "| only theirs broke | upper bound, points | at least as strong |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


def _trained(x: Tensor, y: Tensor, epochs: int = 40) -> Classifier:
    threat, noise = Linf(RADIUS), NoiseStream(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ExplicitClassifier(
            inject=nn.Conv2d(1, 32, 3, padding=1),
            body=nn.Sequential(nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
            head=nn.Sequential(nn.Flatten(), nn.Linear(64 * 16, 10)),
        )
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    surface, attack = network_surface(lambda x, rows: net(x)), PGD(steps=5)
    for epoch in range(epochs):
        for rows in noise.child("order").permutation(len(x), epoch).split(128):
            stream = noise.child("craft", epoch)
            samples = Samples(x[rows], y[rows], rows)
            crafted = attack.perturb(Approach(surface), samples, threat, stream)[0]
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(crafted), y[rows]).backward()
            optimiser.step()
    return net.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
