"""The trial: one entrant meets one column."""

from dataclasses import dataclass
from typing import Any

from robustdeq.entrant import Entrant
from robustdeq.evaluation.protocol import Column
from robustdeq.spec import digest, encode
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
        """The column's source networks, against the trial's threat where they leave it open."""
        return tuple(source.against(self.threat) for source in self.column.sources)

    @property
    def id(self) -> str:
        """16 hex digits of the specification's digest."""
        return digest(
            {
                "entrant": encode(self.entrant),
                "column": encode(self.column),
                "data": self.data,
                "threat": encode(self.threat),
            }
        )
