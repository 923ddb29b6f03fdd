"""How many bytes does a federated network cost until it is robust?

    python -m benchmarks.federated [--seeds 3] [--results DIR] [--out PAGE]

Federated adversarial training, by the recipe of digits-linf-v2: of the stock DEQ, whose clients
afford unequal numbers of solver steps, under several rules of fusion, and of explicit networks of
four widths, which ask the same of every client. What is counted is the bytes of all clients, up and
down, until the first round in which half of the held-out images withstand the training's own look,
ten steps of PGD. Logs that DIR has are read from there; other networks are trained once and kept
below `runs/federated`.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import spread
from benchmarks.kept import ROOT, RUNS, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import Defense, Task
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.federated import Federated
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import find_entry
from robustdeq.models.base import parameter_count
from robustdeq.results.formats.markdown import table
from robustdeq.results.store.files import read_text
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import NONE
from robustdeq.training.central import build
from robustdeq.training.loops.base import train

PROTOCOL = load_protocol("digits-linf-v2")
TARGET = 0.5  # of the held-out images
FUSIONS = ("fedavg", "saturating", "iterations")
WIDTHS = (8, 16, 24, 32)  # channels; its normalisation needs a multiple of 8
HEADER = (
    "network", "fusion", "effective clients", "parameters", "kB a round", "rounds to the target",
    "kB to the target", "clean at the end", "robust at the end",
)  # fmt: skip
Log = list[dict[str, Any]]  # a row for every round


def contenders() -> list[tuple[str, Federated]]:
    """Who is trained, with the name of the network; the explicit ones last, by their width."""
    network = AdversarialTraining(Vanilla())
    equilibria = [("stock DEQ", Federated(network, fusion=fusion)) for fusion in FUSIONS]
    untied = [(width, AdversarialTraining(Explicit(channels=width))) for width in WIDTHS]
    return equilibria + [
        (f"explicit, {width} channels", Federated(control, budgets=())) for width, control in untied
    ]


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where it is kept.

    Attributes:
        results: a store that may have some of the logs.
        epochs, rounds: in place of the line-up's and the default, for a trial run.
    """

    seeds: int = 3
    results: Path = ROOT / "results"
    epochs: int | None = None
    rounds: int | None = None
    folder: Path = RUNS / "federated"

    def entrant(self, defense: Federated, seed: int) -> Entrant:
        """By the line-up's recipe."""
        found = find_entry("federated/adversarial-training/vanilla", PROTOCOL.name).entrant
        found = PROTOCOL.entered(found, PROTOCOL.load_data())
        recipe = replace(found.recipe, epochs=self.epochs or found.recipe.epochs)
        defense = replace(defense, rounds=self.rounds or defense.rounds)
        return replace(found, defense=defense, recipe=recipe, seed=seed)

    def logs(self, defense: Federated) -> list[Log]:
        """Of each seed."""
        return [self._log(self.entrant(defense, seed)) for seed in range(self.seeds)]

    def _log(self, entrant: Entrant) -> Log:
        entry = ResultStore(self.results).entrants / entrant.id / "entrant.json"
        if entry.exists():
            return json.loads(read_text(entry))["log"]
        data, device = PROTOCOL.load_data(), torch.device("cpu")
        path = self.folder / f"{entrant.id}.json"
        resume = path.with_suffix(".part")
        log = kept(path, lambda: train(entrant, data, device, resume)[1])
        resume.unlink(missing_ok=True)
        return log


def rounds_to(log: Log, target: float = TARGET) -> int | None:
    """The first round whose network reaches the target; None if none does."""
    return next((row["round"] for row in log if row["robust"] >= target), None)


def kilobytes(log: Log, rounds: int | None = None) -> float:
    """Sent by and to all clients in the first rounds, or in all."""
    return sum(row["bytes_up"] + row["bytes_down"] for row in log[:rounds]) / 1000


def line(name: str, defense: Federated, plan: Plan) -> list[str]:
    """A network's line of the table."""
    logs = plan.logs(defense)
    reached = [rounds_to(log) for log in logs]
    sent = [kilobytes(log, n) for log, n in zip(logs, reached, strict=True) if n is not None]
    last = [log[-1] for log in logs]
    return [
        name,
        defense.fusion,
        spread([row["effective_clients"] for row in last], 1),
        f"{parameters(defense):,}",
        f"{kilobytes(logs[0], 1):.0f}",
        ", ".join(NONE if rounds is None else str(rounds) for rounds in reached),
        spread(sent, 0) if len(sent) == len(logs) else NONE,
        *(spread([100 * row[key] for row in last], 1) for key in ("clean", "robust")),
    ]


def parameters(defense: Defense) -> int:
    """Of the network that is sent."""
    data = PROTOCOL.load_data()
    return parameter_count(build(Entrant(defense), Task(data.shape, data.classes)))


def page(plan: Plan) -> str:
    """The report in Markdown; trains what is missing."""
    lines = [line(name, defense, plan) for name, defense in contenders()]
    smallest = next((row[0] for row in lines[len(FUSIONS) :] if row[6] != NONE), "none of them")
    return _PAGE.format(
        plan=plan,
        target=TARGET,
        budgets=", ".join(map(str, Federated(Vanilla()).budgets)),
        table=table(HEADER, lines, left=HEADER[:2]),
        smallest=smallest,
    )


_PAGE = """# Bytes until a federated network is robust

Federated adversarial training on digits, Linf 3/16, {plan.seeds} training seeds; four clients and
ten rounds. Clients of the DEQ train and craft with {budgets} solver steps. The target is that
{target:.0%} of the held-out images withstand PGD with ten steps, at the whole budget; bytes are
those of all clients, both ways. Where there are several figures in a cell they are those of the
seeds; mean ± standard deviation elsewhere; accuracies in per cent, of the held-out images after the
last round. Whether a rule of fusion is the original's is not known (see the card of `federated`).

`python -m benchmarks.federated`

{table}

The smallest explicit network of the grid that reaches the target under every seed: {smallest}.
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parsed(parser)
    publish(page(Plan(options.seeds, options.results)), options)


if __name__ == "__main__":
    main()
