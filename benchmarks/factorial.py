"""LyaDEQ with and without its projection, times four heads: training, attack, other starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.kept import RUNS, kept
from benchmarks.starts import Start
from robustdeq import notebook
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import DefendedModel, Task, Wrapper
from robustdeq.defenses.lyadeq import LyaDEQ
from robustdeq.entrant import Entrant
from robustdeq.evaluation.attack import attack
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import find_entry
from robustdeq.models.equilibrium_network import require_equilibrium
from robustdeq.noise import NoiseStream
from robustdeq.objectives.dlr import DLR
from robustdeq.objectives.margin import Margin
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import digest
from robustdeq.training.trained import ensure_trained, load_model

PROTOCOL = load_protocol("digits-linf-v2")
CHAINS = ("lyadeq", "adversarial-training/lyadeq")
HEADS = ("plain", "spectral", "frozen-orthogonal", "orthogonal")
MODES = ("layer", "off")  # the projection on and off
ATTACK = APGD(steps=25, objective=Margin())
SECOND = (Stage(APGD(steps=20, targets=3, objective=DLR())), Stage(Square(queries=300)))
RADII, STARTED, DRAWS, ASCENT = (1.0, 8.0, 64.0), 50, 10, 10  # of z0


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seeds: training seeds of each chain.
        images: of the test images, the first.
        epochs: in place of the line-up's, for a trial run.
        folder: where weights and figures are kept.
    """

    seeds: Mapping[str, int]
    images: int = 500
    epochs: int | None = None
    folder: Path = RUNS / "lyapunov"

    def entrant(self, chain: str, mode: str, head: str, seed: int) -> Entrant:
        """A cell of the factorial, with the line-up's recipe."""
        found = PROTOCOL.entered(find_entry(chain, PROTOCOL.name).entrant, PROTOCOL.load_data())
        network = LyaDEQ(mode=mode, head=head)  # type: ignore[arg-type]
        recipe = replace(found.recipe, epochs=self.epochs or found.recipe.epochs)
        defense = found.defense
        defense = replace(defense, base=network) if isinstance(defense, Wrapper) else network
        return replace(found, defense=defense, recipe=recipe, seed=seed)

    def trained(self, entrant: Entrant) -> DefendedModel:
        """Its network, trained first where it is not yet."""
        store, data, device = ResultStore(self.folder), PROTOCOL.load_data(), torch.device("cpu")
        ensure_trained(store, entrant, data, device)
        return load_model(store, entrant, Task(data.shape, data.classes), device)

    def verdicts(self, entrant: Entrant) -> dict[str, list[bool]]:
        """Per image: right when clean, after the attack, after more; and its solve's end."""

        def measure() -> dict[str, list[bool]]:
            target, test = self.trained(entrant), PROTOCOL.load_data().test.take(self.images)
            clean = Judge(target, 128)(test.samples())
            eps = str(PROTOCOL.threat.eps)
            _, right = notebook.attack(target, test.images, test.labels, ATTACK, eps)
            return {
                "clean": clean.right.tolist(),
                "robust": right.tolist(),
                "converged": clean.prediction.converged.tolist(),
            }

        name = f"verdicts-{entrant.id}-{digest(ATTACK)}-{self.images}.json"
        return kept(self.folder / name, measure)

    def second_look(self, entrant: Entrant) -> list[bool]:
        """Per image: right after the attack, after targeted Auto-PGD and after Square as well."""

        def measure() -> list[bool]:
            target, test = self.trained(entrant), PROTOCOL.load_data().test.take(self.images)
            standing = torch.tensor(self.verdicts(entrant)["robust"])
            look = Judge(target, 128), test.samples(), PROTOCOL.threat, SECOND
            return attack(target, *look, attacked=standing).crafted.standing.tolist()

        name = f"second-{entrant.id}-{digest(SECOND)}-{digest(ATTACK)}-{self.images}.json"
        return kept(self.folder / name, measure)

    def starts(self, entrant: Entrant, radius: float) -> dict[str, dict[str, float]]:
        """What random and worst starts z0 of a radius do to the first images' labels."""

        def measure() -> dict[str, dict[str, float]]:
            model = require_equilibrium(self.trained(entrant).classifier, "a start")
            images = PROTOCOL.load_data().test.take(min(self.images, STARTED)).images
            start, noise = Start.deployed(model, images), NoiseStream(0).child("z0")
            return {
                "random": start.flips(start.random(radius, DRAWS, noise)),
                "worst": start.flips(start.ascent(radius, ASCENT, noise)),
            }

        name = f"starts-{entrant.id}-{radius:g}-{min(self.images, STARTED)}-{DRAWS}-{ASCENT}.json"
        return kept(self.folder / name, measure)
