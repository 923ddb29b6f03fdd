"""Where the record of a trial goes: told in a line, and stored once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from robustdeq.errors import AlreadyStored
from robustdeq.progress import Display
from robustdeq.results.store.draft import Draft
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore


@dataclass(frozen=True)
class Desk:
    """What becomes of one trial's record.

    Attributes:
        entrant, trial: their ids, where the job was made.
        again: whether the trial is to be stored though there is a record of it.
    """

    results: Path
    entrant: str
    trial: str
    chain: str
    column: str
    again: bool

    @property
    def title(self) -> str:
        """What the trial is called in messages."""
        return f"{self.chain} {self.column}"

    @property
    def task(self) -> str:
        """What is shown while it runs."""
        return f"attack {self.title}"

    @property
    def store(self) -> ResultStore:
        """Where the record goes."""
        return ResultStore(self.results)

    def draft(self, checkpoint: str) -> Draft:
        """What an earlier, interrupted run of the trial had finished."""
        return Draft(self.store.unfinished / f"{self.trial}-{checkpoint[:8]}.json")

    def keep(self, record: Record, tables: Mapping[str, pa.Table], display: Display) -> None:
        """Store a record and tell of it.

        Raises:
            StoreError: it cannot be written.
        """
        stored = self._append(record, tables)
        self.draft(record.checkpoint).discard()
        if not stored:
            display.say(f"  {self.chain}  {self.column}: another run has stored it meanwhile")
            return
        verdict = f"refused: {record.reason}"
        if record.robust is not None:
            verdict = f"{record.robust:.1%} robust of {record.clean:.1%} clean"
        seconds = record.provenance["seconds"]
        display.say(f"  {self.chain}  {self.column}: {verdict}  ({seconds:.0f} s)")

    def _append(self, record: Record, tables: Mapping[str, pa.Table]) -> bool:
        """False where another run of the trial was first, and one is enough.

        One that is stored `again` takes the next free number.
        """
        while True:
            try:
                self.store.append(record, tables)
            except AlreadyStored:
                if not self.again:
                    return False
                run = self.store.next_run(record.trial, record.checkpoint)
                record = replace(record, run=run)
            else:
                return True
