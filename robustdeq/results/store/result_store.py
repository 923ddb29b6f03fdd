"""The folder of results: append-only files that merge without conflict."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from robustdeq.errors import ContractViolation, StoreError
from robustdeq.hints import hint
from robustdeq.results.store.cross_proof import disagreements
from robustdeq.results.store.files import listed, read_text, refuse_existing, write, write_once
from robustdeq.results.store.proof import prove
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.results.store.protocols import Protocols
from robustdeq.results.store.proven import Opened, proven, require_specified
from robustdeq.results.store.record import Record
from robustdeq.results.store.record_file import RecordFile, pack
from robustdeq.results.store.retraction import SCHEMA as RETRACTION_SCHEMA
from robustdeq.results.store.retraction import Retraction, contradiction
from robustdeq.results.store.schema1 import OldRecordFile
from robustdeq.results.store.selection import matches
from robustdeq.results.store.tables import conform
from robustdeq.results.store.verdicts import Verdicts


class ResultStore:
    """Records, their tables, protocols and retractions under one folder.

    A record and its tables are one file, which appears whole and exclusively: whatever interrupts
    an append leaves either the record or none, and of two that append one record at once the later
    one changes nothing.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser()
        self.records = self.root / "records"
        self.checkpoints = self.root / "checkpoints"
        self.entrants = self.root / "entrants"
        self.boards = self.root / "boards"
        self.reports = self.root / "reports"
        self.unfinished = self.root / "unfinished"
        self._protocols = Protocols(self.root / "protocols")
        self._retractions = self.root / "retractions"
        self._verdicts: dict[str, Verdicts] = {}  # of the records proven last

    def append(self, record: Record, tables: Mapping[str, pa.Table]) -> Path:
        """Store a record for ever; returns its path.

        Raises:
            AlreadyStored: a record of this stem exists; it is left as it is.
            StoreError: the folder cannot be written, or is of an older schema.
            ContractViolation: a table does not fit its schema, or contradicts the record or another
                one of the same weights; or a done record has no samples (no audit, if an audit was
                its goal).
        """
        self.require_current()
        path = self._record_path(record.stem)
        refuse_existing(path)
        tables = {name: conform(name, table) for name, table in tables.items()}
        proof = prove(record, tables)
        if told := proof.contradictions:
            raise ContractViolation(f"record {record.stem} contradicts itself: {'; '.join(told)}")
        self._require_agreement(record, proof.verdicts)
        write_once(path, pack(record, tables))
        return path

    def require_current(self) -> None:
        """Stop before anything is added to a folder whose records have other names.

        Raises:
            StoreError: it holds records of an older schema.
        """
        if self._kept(".json"):
            raise StoreError(
                f"{self.records} holds records of schema 1, which are read but not added to; bring "
                f"them over with {hint('migrate', self.root)}"
            )

    def scan(
        self, where: Mapping[str, Any] | None = None, *, retracted: bool = False
    ) -> list[Record]:
        """The records whose fields equal `where`, by stem: `scan({"entrant.chain": "vanilla"})`.

        A dot enters a table of the record. Retracted records come only when asked for, unproven.

        Raises:
            StoreError: a record is half-written or damaged, or contradicts itself or another one;
                the message names its file.
        """
        withdrawn = self.retractions()
        paths = sorted(self._kept(".parquet") + self._kept(".json"))
        opened = [self._open(path) for path in paths if retracted or path.stem not in withdrawn]
        for file in opened:
            if file.record.stem not in withdrawn:
                require_specified(file)
        found = [file for file in opened if matches(file.record, where or {})]
        self._prove(file for file in found if file.record.stem not in withdrawn)
        return [file.record for file in found]

    def withdrawn(self) -> list[tuple[Record | None, Retraction]]:
        """Every retracted record, unproven, with its retraction; None where its file is missing."""
        found = [(self._find(each.stem), each) for each in self.retractions().values()]
        return [(self._open(p).record if p.exists() else None, each) for p, each in found]

    def verdicts(self, record: Record) -> Verdicts:
        """What a record says of each image, proven.

        Raises:
            StoreError: as `scan`, or the record has no samples.
        """
        if record.stem not in self._verdicts:
            self._prove([self._open(self._find(record.stem))])
        if record.stem not in self._verdicts:
            raise StoreError(f"record {record.stem} has no table 'samples'")
        return self._verdicts[record.stem]

    def samples(
        self, record: Record, columns: Iterable[str] | None = None, optional: Iterable[str] = ()
    ) -> pa.Table:
        """The per-image facts of a record; `columns` limits them to what is needed."""
        return self.table(record, "samples", columns, optional)

    def table(
        self,
        record: Record,
        name: str,
        columns: Iterable[str] | None = None,
        optional: Iterable[str] = (),
    ) -> pa.Table:
        """A table of a record, its digest verified.

        Args:
            columns: those that are needed; by default all there are.
            optional: further columns, where the table has them.

        Raises:
            StoreError: the record has no such table, or its file is missing or damaged.
            UnknownName: the table has no such column.
        """
        return self._open(self._find(record.stem)).table(name, columns, optional)

    def finished(self, trial: str, checkpoint: str) -> bool:
        """Whether an unretracted record of this trial on these weights exists."""
        return any(
            not self.retraction_path(path.stem).exists()
            and self._open(path).record.checkpoint == checkpoint
            for path in self._runs(trial, checkpoint)
        )

    def next_run(self, trial: str, checkpoint: str) -> int:
        """The first free run number of this trial on these weights."""
        taken = (int(path.stem.rpartition("-")[2]) for path in self._runs(trial, checkpoint))
        return max(taken, default=-1) + 1

    def retract(self, stem: str, reason: str, replaced_by: str | None = None) -> Path:
        """Withdraw a record for a stated defect; it stays on disk and no longer counts.

        Raises:
            StoreError: there is no such record, it is retracted already, or the folder cannot be
                written.
        """
        if not self._find(stem).exists():
            raise StoreError(f"{self.records} has no record {stem!r}, so it cannot be retracted")
        retraction = Retraction(RETRACTION_SCHEMA, stem, reason, replaced_by)
        path = self.retraction_path(stem)
        write_once(path, retraction.to_json().encode())
        return path

    def retractions(self) -> dict[str, Retraction]:
        """Every retraction, by the stem of the record it withdraws.

        Raises:
            StoreError: one is damaged, or several replace each other in a circle.
        """
        paths = listed(self._retractions, ".json")
        found = {p.stem: Retraction.from_json(read_text(p), str(p)) for p in paths}
        if told := contradiction(found):
            raise StoreError(f"{self._retractions}: {told}; restore the files")
        return found

    def write_protocol(self, name: str, resolved: dict[str, Any]) -> Path:
        """As `Protocols.write`."""
        return self._protocols.write(name, resolved)

    def protocols(self) -> list[str]:
        """The names of the stored protocols, sorted."""
        return self._protocols.names()

    def protocol(self, name: str) -> ResolvedProtocol:
        """As `Protocols.read`."""
        return self._protocols.read(name)

    def write_board(self, name: str, text: str) -> Path:
        """Put a regenerated board in its folder, replacing the one there."""
        path = self.boards / name
        write(path, text.encode())
        return path

    def _prove(self, files: Iterable[Opened]) -> None:
        self._verdicts.update((record.stem, found) for record, found in proven(files) if found)

    def _require_agreement(self, record: Record, verdicts: Verdicts | None) -> None:
        """Hold a record that is to be stored against those of the same weights.

        Raises:
            ContractViolation: they cannot both be right. Stored, it would stop the board.
        """
        weights = f"-{record.checkpoint[:8]}-"
        beside = [path for path in self._kept(".parquet") if weights in path.stem]
        withdrawn = self.retractions()
        known = proven(self._open(path) for path in beside if path.stem not in withdrawn)
        for one, other, told in disagreements([*known, (record, verdicts)]):
            raise ContractViolation(
                f"{record.entrant['chain']} {record.column['name']} is not stored: "
                f"{' and '.join(sorted((one.stem, other.stem)))} contradict each other: {told}"
            )

    def _runs(self, trial: str, checkpoint: str) -> list[Path]:
        self.require_current()
        start = f"{trial}-{checkpoint[:8]}-"
        return [path for path in self._kept(".parquet") if path.stem.startswith(start)]

    def _kept(self, suffix: str) -> list[Path]:
        """The files of records; those of schema 1 have tables beside them, with a second dot."""
        return [path for path in listed(self.records, suffix) if "." not in path.stem]

    def _record_path(self, stem: str) -> Path:
        return self.records / f"{stem}.parquet"

    def _find(self, stem: str) -> Path:
        """The file of a record, which is of schema 1 where there is no other."""
        path, old = self._record_path(stem), self.records / f"{stem}.json"
        return old if old.exists() and not path.exists() else path

    def retraction_path(self, stem: str) -> Path:
        """Where the retraction of a record is, if there is one."""
        return self._retractions / f"{stem}.json"

    def _open(self, path: Path) -> Opened:
        file = OldRecordFile(path) if path.suffix == ".json" else RecordFile(path)
        if file.record.stem != path.stem:
            raise StoreError(
                f"{path} holds the record {file.record.stem}; records are never renamed or edited, "
                "so restore the file, or delete it and run again the command that made it"
            )
        return file
