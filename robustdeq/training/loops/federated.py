"""Several clients that share no images, and a server that fuses their networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.defenses.federated import Federated as FederatedDefense
from robustdeq.defenses.fusion import effective_clients, find_fusion, fusion_weights
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.noise import NoiseStream
from robustdeq.progress import Progress, unseen
from robustdeq.threats.base import ThreatModel
from robustdeq.training.central import build
from robustdeq.training.clients import (
    Client,
    Update,
    Work,
    client_update,
    cut,
    make_clients,
    shares,
)
from robustdeq.training.fusion import fuse, size_in_bytes
from robustdeq.training.loops.base import Loop
from robustdeq.training.state import TrainingState, Weights
from robustdeq.training.step import look

Memories = list[dict[str, Tensor]]  # one a client
# What an engine answers for: everybody's part of a round, in any order, wherever it runs.
Engine = Callable[
    [Entrant, Task, Sequence[Client], Weights, Sequence[Work], Memories], list[Update]
]


@dataclass(frozen=True)
class Federated(Loop):
    """Rounds: every client trains the server's network on its own images, the server fuses them."""

    def check(self, entrant: Entrant, data: DataSet, network: Classifier) -> None:
        _clients(entrant, data, network, torch.device("cpu"))

    def train(
        self,
        entrant: Entrant,
        data: DataSet,
        device: torch.device,
        resume: Path | None,
        progress: Progress,
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        return train(entrant, data, device, resume, progress)


def in_process(
    entrant: Entrant,
    task: Task,
    clients: Sequence[Client],
    weights: Weights,
    works: Sequence[Work],
    memories: Memories,
) -> list[Update]:
    """One client after the other, here."""
    return [
        client_update(entrant, task, client, weights, work, memory)
        for client, work, memory in zip(clients, works, memories, strict=True)
    ]


def train(
    entrant: Entrant,
    data: DataSet,
    device: torch.device,
    resume: Path | None = None,
    progress: Progress = unseen,
    engine: Engine = in_process,
) -> tuple[Classifier, list[dict[str, Any]]]:
    """As `Loop.train`; the log has a row for every round.

    A row: round, loss (the mean over the round's gradient steps, each before it is taken), clean
    and robust accuracy on the held-out images at the whole budget, steps (gradient steps so far, of
    all clients), effective_clients, residuals (by client, at its own budget), and the bytes that
    this round sent up and down.

    Raises:
        SpecError: the recipe names no threat model, a client has no image, a budget does not fit
            the network, or training diverged.
        CheckpointError: the state in `resume` is damaged.
    """
    recipe, defense = entrant.recipe, entrant.defense
    if recipe.threat is None:
        raise SpecError(
            f"{entrant.chain}: the recipe names no threat; give it one to train against"
        )
    assert isinstance(defense, FederatedDefense)
    run = _Run(entrant, data, device, recipe.threat, engine)
    state = run.state
    if resume is not None and resume.exists():
        state.load(resume)
    while state.epoch < defense.rounds:
        run.round()
        progress(state.epoch, defense.rounds)
        if resume is not None:
            state.save(resume)
    state.model.load_state_dict(state.best)
    return run.model.eval().requires_grad_(False), state.log


def _clients(
    entrant: Entrant, data: DataSet, network: Classifier, device: torch.device
) -> list[Client]:
    """The clients of a network that can be solved at the budget of each.

    Raises:
        SpecError: a client has no image, or a budget does not fit the network.
    """
    clients = make_clients(entrant, data.train.to(device), data.classes)
    for client in clients:
        cut(network, client.budget)
    return clients


class _Run:
    """One training; its state's `epoch` is the number of rounds done."""

    def __init__(
        self,
        entrant: Entrant,
        data: DataSet,
        device: torch.device,
        threat: ThreatModel,
        engine: Engine,
    ):
        assert isinstance(entrant.defense, FederatedDefense)
        self._entrant, self._defense, self._threat = entrant, entrant.defense, threat
        self._task, self._engine = Task(data.shape, data.classes), engine
        self.model = build(entrant, self._task).to(device)
        self._clients = _clients(entrant, data, self.model, device)
        self._held_out = data.held_out.to(device)
        # The server takes no gradient step; a client's optimiser lives for one round.
        self.state = TrainingState(self.model, torch.optim.AdamW(self.model.parameters()))
        recipe, images = entrant.recipe, [len(client.rows) for client in self._clients]
        central = recipe.epochs * -(-len(data.train) // recipe.batch_size)
        self._steps = shares(images, central, self._defense.rounds)

    def round(self) -> None:
        """Send the network out, fuse what comes back, look, and write the log."""
        state, number = self.state, self.state.epoch
        sent = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        memories = [self._memory(client) for client in self._clients]
        updates = self._engine(
            self._entrant, self._task, self._clients, sent, self._works(number), memories
        )
        updates.sort(key=lambda update: update.report.client)
        for client, memory in zip(self._clients, memories, strict=True):
            state.memory.update({f"{client.number}/{k}": v for k, v in memory.items()})
        fusion, by_images = find_fusion(self._defense.fusion), self._defense.by_images
        self.model.load_state_dict(fuse(updates, fusion, by_images))
        state.epoch = number + 1
        noise = NoiseStream(self._entrant.seed).child("training", "look")
        target = DefendedModel(self._defense, self.model, {}, state.epoch / self._defense.rounds)
        clean, robust = look(target, self._held_out, self._threat, noise)
        state.keep_best(clean + robust)
        reports, steps = [update.report for update in updates], self._steps[number]
        weighted = sum(s * u.loss for s, u in zip(steps, updates, strict=True))
        state.log.append({
            "round": state.epoch, "loss": weighted / sum(steps), "clean": clean, "robust": robust,
            "steps": sum(map(sum, self._steps[: state.epoch])),
            "effective_clients": effective_clients(fusion_weights(reports, fusion, by_images)),
            "residuals": [report.residual for report in reports],
            "bytes_up": sum(size_in_bytes(update.weights) for update in updates),
            "bytes_down": len(updates) * size_in_bytes(sent),
        })  # fmt: skip

    def _works(self, number: int) -> list[Work]:
        rounds, recipe = self._defense.rounds, self._entrant.recipe
        rate = recipe.rate(number, rounds)
        return [
            Work(number, sum(row[i] for row in self._steps[:number]), self._steps[number][i],
                 rate, number / rounds)
            for i in range(len(self._clients))
        ]  # fmt: skip

    def _memory(self, client: Client) -> dict[str, Tensor]:
        """What this client's defense kept; a server never reads it."""
        mark = f"{client.number}/"
        kept = self.state.memory.items()
        return {name[len(mark) :]: value for name, value in kept if name.startswith(mark)}
