"""The trial: one entrant meets one column."""

from dataclasses import dataclass
from typing import Any

from robustdeq.entrant import Entrant
from robustdeq.evaluation.column import Column
from robustdeq.results.store.identity import trial_id
from robustdeq.spec import encode
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Trial:
    """What is run once and stored as one record.

    Its identity is its specification: column, data, threat and entrant. Device, batch size and
    threads are recorded, and are no part of it.
    """

    entrant: Entrant
    column: Column
    data: dict[str, Any]
    threat: ThreatModel

    @property
    def sources(self) -> tuple[Entrant, ...]:
        """The column's source networks, on the entrant's data and against the trial's threat."""
        return tuple(
            source.against(self.threat).trained_on(self.entrant.data)
            for source in self.column.sources
        )

    @property
    def id(self) -> str:
        """16 hex digits of the specification's digest."""
        return trial_id(encode(self.entrant), encode(self.column), self.data, encode(self.threat))
