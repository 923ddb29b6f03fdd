"""A trial as its judge and its record know it: without the entrant's own code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robustdeq.entrant import Entrant
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.evaluation.column import Column
from robustdeq.evaluation.trial import Trial
from robustdeq.results.store.record import SCHEMA
from robustdeq.spec import encode
from robustdeq.threats.base import ThreatModel
from robustdeq.version import SEMANTICS


@dataclass(frozen=True)
class Described:
    """A trial, its entrant in plain data.

    Attributes:
        trial: its id.
        entrant: as a record names it, but for its adaptive views.
        adaptive: these views, where its answers are not drawn and where they are.
        sources: as a record names them.
    """

    trial: str
    entrant: dict[str, Any]
    adaptive: tuple[list[Any], list[Any]]
    column: Column
    data: dict[str, Any]
    threat: ThreatModel
    sources: tuple[dict[str, Any], ...]

    def identity(self, checkpoint: str, run: int, salt: str, randomised: bool) -> dict[str, Any]:
        """What a record says of what it is a record of."""
        return {
            "schema": SCHEMA,
            "semantics": SEMANTICS,
            "trial": self.trial,
            "checkpoint": checkpoint,
            "run": run,
            "salt": salt,
            "entrant": {**self.entrant, "adaptive": self.adaptive[randomised]},
            "column": encode(self.column),
            "data": self.data,
            "threat": encode(self.threat),
            "sources": self.sources,
        }


def described(trial: Trial, checkpoint_of: Callable[[Entrant], str]) -> Described:
    """A trial without the entrant's own code.

    Args:
        checkpoint_of: the SHA-256 (hex) of the weights of one of the column's sources.
    """
    entrant, control = trial.entrant, trial.entrant.defense.control

    def views(drawn: bool) -> list[Any]:
        return encode(derived_views(entrant.defense, drawn))

    return Described(
        trial.id,
        {
            "chain": entrant.chain,
            "defense": encode(entrant.defense),
            "recipe": encode(entrant.recipe),
            "seed": entrant.seed,
            **({"data": entrant.data} if entrant.data else {}),
            **({"control": encode(control)} if control else {}),
        },
        (views(False), views(True)),
        trial.column,
        trial.data,
        trial.threat,
        tuple(
            {"chain": each.chain, "seed": each.seed, "checkpoint": checkpoint_of(each)}
            for each in trial.sources
        ),
    )
