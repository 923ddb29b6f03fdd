"""Where a trial runs, what it leaves untouched, and how its record names it all."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError, ContractViolation
from robustdeq.evaluation.described import Described, described
from robustdeq.evaluation.remote import Model, ask
from robustdeq.evaluation.trial import Trial
from robustdeq.models.base import Deployment
from robustdeq.precision import is_full
from robustdeq.results.store.draft import Draft
from robustdeq.results.store.record import Record
from robustdeq.version import __version__


@dataclass(frozen=True)
class Source:
    """A network that columns transfer from: its weights' SHA-256 (hex), and how to load it."""

    checkpoint: str
    load: Callable[[], DefendedModel]


def no_source(entrant: Entrant) -> Source:
    """
    Raises:
        CheckpointError: always; for benches whose columns transfer from nothing.
    """
    raise CheckpointError(f"no weights are at hand of the source {entrant.chain}; train it first")


def fresh_salt() -> str:
    """32 hex digits that nobody can foresee."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Setting:
    """Under which circumstances a trial runs, as its record says: see `Bench`."""

    checkpoint: str
    device: torch.device
    batch_size: int
    run: int
    randomised: bool | None
    salt: str

    def identity(self, trial: Described) -> dict[str, Any]:
        """What a record says of what it is a record of."""
        return trial.identity(self.checkpoint, self.run, self.salt, bool(self.randomised))

    def provenance(self, started: float) -> dict[str, Any]:
        """What a record says of where it comes from."""
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "robustdeq": __version__,
            "torch": metadata.version("torch"),
            **hardware(self.device),
            "threads": torch.get_num_threads(),
            "batch_size": self.batch_size,
            "seconds": round(time.monotonic() - started, 2),
        }


@dataclass(frozen=True)
class Bench:
    """Where a trial runs: no part of its identity.

    Attributes:
        load: builds and loads the entrant afresh; the attacked and the judged copy are two.
        checkpoint: SHA-256 (hex) of the weights that `load` loads.
        run: 0, or the number of the rerun.
        source: the trained network behind one of the column's `sources`.
        randomised: whether the entrant's answers were seen to depend on its noise; None where
            nobody has looked, and the trial does.
        draft: what an interrupted run of the same trial had finished; an audit goes on from there.
        salt: keys what the entrant draws and the order in which it is asked. Drawn when a trial
            begins; the one in a record repeats that record.
    """

    load: Callable[[], DefendedModel]
    checkpoint: str
    device: torch.device
    batch_size: int = 128
    run: int = 0
    source: Callable[[Entrant], Source] = no_source
    randomised: bool | None = None
    draft: Draft = field(default_factory=Draft)
    salt: str = field(default_factory=fresh_salt)

    @property
    def setting(self) -> Setting:
        """The bench without what loads models."""
        return Setting(
            self.checkpoint, self.device, self.batch_size, self.run, self.randomised, self.salt
        )

    def described(self, trial: Trial) -> Described:
        """A trial with the weights of its sources, without the code of its entrant."""
        return described(trial, lambda entrant: self.source(entrant).checkpoint)


def settled(target: DefendedModel) -> DefendedModel:
    """The model in evaluation mode and frozen: itself, or a copy where it was left otherwise.

    Raises:
        ContractViolation: it was left otherwise and cannot be copied.
    """
    network = target.classifier
    unfrozen = any(parameter.requires_grad for parameter in network.parameters())
    if unfrozen or any(module.training for module in network.modules()):
        target = copied(target)
        target.classifier.eval().requires_grad_(False)
    return target


def copied(target: DefendedModel) -> DefendedModel:
    """A copy that shares nothing with the model.

    Raises:
        ContractViolation: it holds what cannot be copied.
    """
    try:
        return deepcopy(target)
    except (TypeError, RuntimeError) as error:
        raise ContractViolation(
            f"{target.defense.chain} cannot be copied ({error}), and who attacks and who judges it "
            f"are two; hold only what copy.deepcopy copies"
        ) from error


class Guard:
    """The mode law: an evaluation changes no weight, no mode and no global random state."""

    def __init__(self, target: Model):
        self._target, self._before = target, ask(target, guarded)

    def check(self) -> None:
        """
        Raises:
            ContractViolation: something did.
        """
        for name, value in ask(self._target, guarded).items():
            if value != self._before[name]:
                raise ContractViolation(
                    f"the evaluation of {ask(self._target, chain_of)} changed the {name}; attacks "
                    f"and defenses must leave it as it is"
                )


def chain_of(target: DefendedModel) -> str:
    """The defense chain of a model."""
    return target.defense.chain


def guarded(target: DefendedModel) -> dict[str, Any]:
    """What an evaluation may not change."""
    model = target.classifier
    return {
        "training mode of a module": [module.training for module in model.modules()],
        "requires_grad of a parameter": [p.requires_grad for p in model.parameters()],
        "weights": _fingerprint([*model.parameters(), *model.buffers()]),
        "global random state": _fingerprint([torch.get_rng_state()]),
    }


def _fingerprint(tensors: Iterable[Tensor]) -> str:
    sha = hashlib.blake2b()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def refused(
    trial: Described, setting: Setting, target: Model, reason: str, started: float
) -> Record:
    """The record of a trial that cannot be run on its entrant."""
    deployment = asdict(ask(target, deployment_of))
    return Record(
        **setting.identity(trial),
        status="refused",
        reason=reason,
        n=0,
        clean=None,
        robust=None,
        seeds={},
        flags=(),
        cost={},
        deployment={**deployment, "converged_clean": None, "converged_adversarial": None},
        provenance=setting.provenance(started),
    )


def deployment_of(target: DefendedModel) -> Deployment:
    """What a model promises of its solver."""
    return target.classifier.deployment()


def hardware(device: torch.device) -> dict[str, Any]:
    """What computes, and how finely, as plain data."""
    precision = "full float32" if is_full() else "reduced float32"
    facts = {"device": device.type, "precision": precision}
    if device.type != "cuda":
        return facts
    card = torch.cuda.get_device_properties(device)
    capability = f"{card.major}.{card.minor}"
    return {**facts, "card": card.name, "capability": capability, "cuda": torch.version.cuda}
