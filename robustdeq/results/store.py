"""The folder of results: append-only files that merge without conflict."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robustdeq.errors import ContractViolation, SpecError, StoreError, UnknownName
from robustdeq.results.cross_proof import disagreements
from robustdeq.results.files import read, read_text, refuse_existing, write, write_once
from robustdeq.results.proof import prove, proving
from robustdeq.results.protocol import ResolvedProtocol
from robustdeq.results.record import Record
from robustdeq.results.retraction import SCHEMA as RETRACTION_SCHEMA
from robustdeq.results.retraction import Retraction
from robustdeq.results.tables import conform
from robustdeq.results.verdicts import Verdicts
from robustdeq.spec import decode


class ResultStore:
    """Records, their tables, protocols and retractions under one folder.

    A record is one JSON file and its Parquet tables. The tables are written first and the JSON is
    linked into place last, whole and exclusively: whatever interrupts an append leaves either the
    record or none, and tables without a JSON are replaced by the next append.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.records = self.root / "records"
        self.checkpoints = self.root / "checkpoints"
        self.entrants = self.root / "entrants"
        self.boards = self.root / "boards"
        self.reports = self.root / "reports"
        self.unfinished = self.root / "unfinished"
        self._protocols = self.root / "protocols"
        self._retractions = self.root / "retractions"
        self._verdicts: dict[str, Verdicts] = {}  # of the records proven last

    def append(self, record: Record, tables: Mapping[str, pa.Table]) -> Path:
        """Store a record for ever; returns the path of its JSON.

        `record.tables` is filled here with the digests of what was written.

        Raises:
            StoreError: a record of this stem exists, or the folder cannot be written.
            ContractViolation: a table does not fit its schema, or a done record has no samples (no
                audit, if an audit was its goal).
        """
        path = self._record_path(record.stem)
        refuse_existing(path)
        needed = "audit" if record.column.get("goal") == "audit" else "samples"
        if record.status == "done" and needed not in tables:
            raise ContractViolation(f"record {record.stem} is done but has no table {needed!r}")
        tables = {name: conform(name, table) for name, table in tables.items()}
        if told := prove(record, tables).contradictions:
            raise ContractViolation(f"record {record.stem} contradicts itself: {'; '.join(told)}")
        files = {name: _parquet(table) for name, table in tables.items()}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for name, content in files.items():
            write(self._table_path(record.stem, name), content)
        refuse_existing(path)
        write_once(path, replace(record, tables=digests).to_json().encode())
        return path

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
        paths = sorted(self.records.glob("*.json"))
        loaded = [self._load(path) for path in paths if retracted or path.stem not in withdrawn]
        found = [record for record in loaded if _matches(record, where or {})]
        self._prove(record for record in found if record.stem not in withdrawn)
        return found

    def withdrawn(self) -> list[tuple[Record, Retraction]]:
        """Every retracted record, unproven, with its retraction."""
        retractions = self.retractions().items()
        return [(self._load(self._record_path(stem)), each) for stem, each in retractions]

    def verdicts(self, record: Record) -> Verdicts:
        """What a record says of each image, proven.

        Raises:
            StoreError: as `scan`, or the record has no samples.
        """
        if record.stem not in self._verdicts:
            self._prove([record])
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
        if name not in record.tables:
            known = ", ".join(record.tables) or "none"
            raise StoreError(f"record {record.stem} has no table {name!r}; it has {known}")
        path = self._table_path(record.stem, name)
        content = read(path)
        if hashlib.sha256(content).hexdigest() != record.tables[name]:
            raise StoreError(
                f"{path} is damaged: its digest is not the recorded one; restore it, or delete "
                f"{self._record_path(record.stem)} and run the same command again"
            )
        file = pq.ParquetFile(pa.BufferReader(content))
        known = file.schema_arrow.names
        wanted = known if columns is None else list(columns)
        wanted = [*wanted, *(c for c in optional if c in known and c not in wanted)]
        for column in wanted:
            if column not in known:
                raise UnknownName(f"column of the table {name!r}", column, known)
        return file.read(columns=wanted, use_threads=False)

    def finished(self, trial: str, checkpoint: str) -> bool:
        """Whether an unretracted record of this trial on these weights exists."""
        return any(
            not self._retraction_path(path.stem).exists()
            and self._load(path).checkpoint == checkpoint
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
        if not self._record_path(stem).exists():
            raise StoreError(f"{self.records} has no record {stem!r}, so it cannot be retracted")
        retraction = Retraction(RETRACTION_SCHEMA, stem, reason, replaced_by)
        path = self._retraction_path(stem)
        write_once(path, retraction.to_json().encode())
        return path

    def retractions(self) -> dict[str, Retraction]:
        """Every retraction, by the stem of the record it withdraws."""
        paths = sorted(self._retractions.glob("*.json"))
        return {p.stem: Retraction.from_json(read_text(p), str(p)) for p in paths}

    def write_protocol(self, name: str, resolved: dict[str, Any]) -> Path:
        """Keep a resolved protocol beside its records; again with the same content does nothing.

        Raises:
            SpecError: `resolved` is not a protocol of this name.
            StoreError: another protocol of this name is stored; a released one never changes.
        """
        protocol = decode(ResolvedProtocol, resolved, f"protocol {name}")
        if protocol.name != name:
            raise SpecError(f"protocol {protocol.name!r} cannot be stored as {name!r}")
        path = self._protocol_path(name)
        try:
            if not path.exists():
                write_once(path, protocol.to_json().encode())
        except StoreError:
            if not path.exists():  # else another process stored it meanwhile
                raise
        if self.protocol(name) != protocol:
            raise StoreError(
                f"{path} holds another protocol {name!r}; a released protocol never changes, "
                "so give the new one a new name or use another results folder"
            )
        return path

    def protocols(self) -> list[str]:
        """The names of the stored protocols, sorted."""
        return sorted(path.stem for path in self._protocols.glob("*.json"))

    def protocol(self, name: str) -> ResolvedProtocol:
        """A stored protocol.

        Raises:
            UnknownName: none of this name is stored; the message offers the nearest.
            StoreError: its file is damaged.
        """
        if name not in self.protocols():
            raise UnknownName(f"protocol in {self.root}", name, self.protocols())
        path = self._protocol_path(name)
        return ResolvedProtocol.from_json(read_text(path), str(path))

    def write_board(self, name: str, text: str) -> Path:
        """Put a regenerated board in its folder, replacing the one there."""
        path = self.boards / name
        write(path, text.encode())
        return path

    def _prove(self, records: Iterable[Record]) -> None:
        """Hold each record against itself, and all of them against each other."""
        proven = []
        for record in records:
            tables = {
                name: self.table(record, name) for name in proving(record) if name in record.tables
            }
            proof = prove(record, tables)
            if proof.contradictions:
                raise StoreError(
                    f"{self._record_path(record.stem)} contradicts itself: "
                    f"{'; '.join(proof.contradictions)}; restore the file, or delete it and run "
                    "the same command again"
                )
            proven.append((record, proof.verdicts))
        for one, other, told in disagreements(proven):
            raise StoreError(
                f"{self._record_path(one.stem)} and {self._record_path(other.stem)} contradict "
                f"each other: {told}; restore the wrong one, or retract it"
            )
        self._verdicts.update((record.stem, found) for record, found in proven if found)

    def _runs(self, trial: str, checkpoint: str) -> list[Path]:
        return sorted(self.records.glob(f"{trial}-{checkpoint[:8]}-*.json"))

    def _record_path(self, stem: str) -> Path:
        return self.records / f"{stem}.json"

    def _table_path(self, stem: str, name: str) -> Path:
        return self.records / f"{stem}.{name}.parquet"

    def _retraction_path(self, stem: str) -> Path:
        return self._retractions / f"{stem}.json"

    def _protocol_path(self, name: str) -> Path:
        return self._protocols / f"{name}.json"

    def _load(self, path: Path) -> Record:
        record = Record.from_json(read_text(path), str(path))
        if record.stem != path.stem:
            raise StoreError(
                f"{path} holds the record {record.stem}; records are never renamed or edited, "
                "so restore the file, or delete it and run the same command again"
            )
        return record


def _parquet(table: pa.Table) -> bytes:
    """The table as small as a few hundred rows get: without what only large files gain from."""
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression="zstd", compression_level=19, use_dictionary=False,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"), write_statistics=False,
        store_schema=False,
    )  # fmt: skip
    return buffer.getvalue()


def _matches(record: Record, where: Mapping[str, Any]) -> bool:
    return all(_field(record, key) == value for key, value in where.items())


def _field(record: Record, key: str) -> Any:
    """A field by its dotted path; None where the table has no such key."""
    name, *inner = key.split(".")
    if name not in Record.__dataclass_fields__:
        raise UnknownName("field of a record", name, Record.__dataclass_fields__)
    value = getattr(record, name)
    for part in inner:
        value = value.get(part) if isinstance(value, dict) else None
    return value
