"""The state of an unfinished training, so that an interrupted one goes on bit for bit."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robustdeq.errors import CheckpointError
from robustdeq.results.store.files import write

Weights = dict[str, Tensor]


@dataclass
class TrainingState:
    """Everything that a training carries from one epoch to the next.

    Randomness is keyed by (seed, epoch, sample) and the learning rate by the step, so neither has a
    state. `memory` is what a defense keeps across epochs; `log` has one row for each look at the
    held-out images.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    best: Weights = field(default_factory=dict)
    best_score: float = float("-inf")
    memory: Weights = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    def keep_best(self, score: float) -> None:
        """Remember the present weights if no earlier look scored higher."""
        if score >= self.best_score:
            self.best_score = score
            self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write everything, atomically."""
        groups = {
            "model": self.model.state_dict(),
            "optimizer": _flat(self.optimizer.state_dict()["state"]),
            "best": self.best,
            "memory": self.memory,
        }
        tensors = {
            f"{group}/{name}": tensor.detach().cpu().contiguous()
            for group, entries in groups.items()
            for name, tensor in entries.items()
        }
        facts = {"epoch": self.epoch, "best_score": self.best_score, "log": self.log}
        write(path, save(tensors, {"state": json.dumps(facts)}))

    def load(self, path: Path) -> None:
        """Continue from a written state.

        Raises:
            CheckpointError: the file is damaged or belongs to another network.
        """
        groups: dict[str, Weights] = {"model": {}, "optimizer": {}, "best": {}, "memory": {}}
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["state"])
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    group, _, name = key.partition("/")
                    groups[group][name] = file.get_tensor(key)
            self.model.load_state_dict(groups["model"])
            self.optimizer.load_state_dict(
                {**self.optimizer.state_dict(), "state": _nested(groups["optimizer"])}
            )
        except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} cannot be continued ({error}); delete it to train from the start"
            ) from None
        self.best, self.memory = groups["best"], groups["memory"]
        self.epoch, self.best_score = facts["epoch"], facts["best_score"]
        self.log = facts["log"]


def _flat(state: dict[int, dict[str, Tensor]]) -> Weights:
    return {f"{i}/{key}": value for i, entry in state.items() for key, value in entry.items()}


def _nested(flat: Weights) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        number, _, key = name.partition("/")
        state.setdefault(int(number), {})[key] = value
    return state
