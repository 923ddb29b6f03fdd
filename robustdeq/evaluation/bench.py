"""Where a trial runs, what it leaves untouched, and how its record names it all."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import torch

import robustdeq
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.trial import Trial
from robustdeq.results.record import SCHEMA, Record
from robustdeq.spec import encode


@dataclass(frozen=True)
class Bench:
    """Where a trial runs: no part of its identity.

    Attributes:
        load: builds and loads the entrant afresh; the attacked and the judged copy are two.
        checkpoint: SHA-256 (hex) of the weights that `load` loads.
        run: 0, or the number of the rerun.
    """

    load: Callable[[], DefendedModel]
    checkpoint: str
    device: torch.device
    batch_size: int = 128
    run: int = 0


class Guard:
    """The mode law: an evaluation changes no mode, no flag and no global random state."""

    def __init__(self, target: DefendedModel):
        self._target, self._before = target, self._facts(target)

    def check(self) -> None:
        """
        Raises:
            ContractViolation: something did.
        """
        for name, value in self._facts(self._target).items():
            if value != self._before[name]:
                raise ContractViolation(
                    f"the evaluation of {self._target.defense.chain} changed the {name}; "
                    f"attacks and defences must leave it as it is"
                )

    @staticmethod
    def _facts(target: DefendedModel) -> dict[str, Any]:
        model = target.classifier
        return {
            "training mode of a module": [module.training for module in model.modules()],
            "requires_grad of a parameter": [p.requires_grad for p in model.parameters()],
            "global random state": torch.get_rng_state().numpy().tobytes(),
        }


def identity(trial: Trial, bench: Bench) -> dict[str, Any]:
    entrant = trial.entrant
    return {
        "schema": SCHEMA,
        "semantics": robustdeq.SEMANTICS,
        "trial": trial.id,
        "checkpoint": bench.checkpoint,
        "run": bench.run,
        "entrant": {
            "chain": entrant.chain,
            "defense": encode(entrant.defense),
            "recipe": encode(entrant.recipe),
            "seed": entrant.seed,
        },
        "column": encode(trial.column),
        "data": trial.data,
        "threat": encode(trial.threat),
        "sources": (),
    }


def refused(
    trial: Trial, bench: Bench, target: DefendedModel, reason: str, started: float
) -> Record:
    deployment = asdict(target.classifier.deployment())
    return Record(
        **identity(trial, bench),
        status="refused",
        reason=reason,
        n=0,
        clean=None,
        robust=None,
        seeds={},
        flags=(),
        cost={},
        deployment={**deployment, "converged_clean": None, "converged_adversarial": None},
        provenance=provenance(bench, started),
    )


def provenance(bench: Bench, started: float) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "robustdeq": robustdeq.__version__,
        "torch": metadata.version("torch"),
        "device": bench.device.type,
        "threads": torch.get_num_threads(),
        "batch_size": bench.batch_size,
        "seconds": round(time.monotonic() - started, 2),
    }
