"""The file of a record: one Parquet row of its JSON text and its tables, with a digest of both."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robustdeq.errors import StoreError, UnknownName
from robustdeq.results.store.files import read
from robustdeq.results.store.record import Record
from robustdeq.results.store.tables import SCHEMAS

_TEXT, _DIGEST = "record", b"robustdeq.sha256"
# What a reader of Parquet raises where its footer was damaged, beside the errors of Arrow.
_BROKEN = (pa.ArrowException, OSError, LookupError, UnicodeDecodeError, AttributeError, TypeError)
_TAIL = 8  # bytes: the length of the footer, then Parquet's mark


def pack(record: Record, tables: Mapping[str, pa.Table]) -> bytes:
    """The content of a record's file; tables as their schemas say.

    Each table is one cell, a list of rows, so that many files read as one table of records. They
    are as small as a few hundred rows get: without what only large files gain from.
    """
    cells = {name: _cell(table) for name, table in tables.items()}
    row = pa.table({_TEXT: pa.array([record.to_json()]), **cells})
    integers = [
        f"{name}.list.element.{field.name}"
        for name, table in tables.items()
        for field in table.schema
        if pa.types.is_integer(field.type)
    ]
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer, row.schema, compression="zstd", compression_level=19, use_dictionary=False,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"), write_statistics=False,
        store_schema=False,
    ) as writer:  # fmt: skip
        writer.write_table(row)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()  # of all but the footer
        writer.add_key_value_metadata({_DIGEST.decode(): digest})
    return buffer.getvalue()


class RecordFile:
    """A record's file as it lies on disk, whole.

    Raises:
        StoreError: it is missing, cut off, damaged, or holds no record of its name.
    """

    def __init__(self, path: Path):
        self.path = path
        content = read(path)
        try:
            self._file = pq.ParquetFile(pa.BufferReader(content))
            self._schema = self._file.schema_arrow
            footer = int.from_bytes(content[-_TAIL:-4], "little")
            digest = hashlib.sha256(memoryview(content)[: -_TAIL - footer]).hexdigest()
            recorded = (self._schema.metadata or {}).get(_DIGEST, b"").decode()
            whole = digest == recorded
            text = self._file.read([_TEXT], use_threads=False)[_TEXT][0].as_py() if whole else ""
        except _BROKEN as error:
            raise _damaged(path, error) from None
        if not whole:
            raise _damaged(path, StoreError("its digest is not the recorded one"))
        self.record = Record.from_json(text, str(path))
        self.tables = tuple(name for name in self._schema.names if name != _TEXT)

    def table(
        self, name: str, columns: Iterable[str] | None = None, optional: Iterable[str] = ()
    ) -> pa.Table:
        """A table of the record; see `ResultStore.table`."""
        if name not in self.tables:
            raise StoreError(
                f"{self.path} has no table {name!r}; it has {', '.join(self.tables) or 'none'}"
            )
        try:
            known = self._schema.field(name).type.value_type.names
            if strange := set(known).difference(SCHEMAS[name].names):
                raise _damaged(self.path, StoreError(f"a column {min(strange)!r}"))
            wanted = select(name, known, columns, optional)
            paths = [f"{name}.list.element.{column}" for column in wanted]
            rows = self._file.read(paths, use_threads=False)[name].combine_chunks().values
            fields = [SCHEMAS[name].field(column) for column in wanted]
            arrays = [rows.field(field.name).cast(field.type) for field in fields]
            return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        except _BROKEN as error:
            raise _damaged(self.path, error) from None


def select(
    table: str, known: list[str], columns: Iterable[str] | None, optional: Iterable[str]
) -> list[str]:
    """Which of a table's columns are meant: those asked for, and of the optional ones those there.

    Raises:
        UnknownName: one that is needed is not there; the message offers the nearest.
    """
    wanted = known if columns is None else list(columns)
    for column in wanted:
        if column not in known:
            raise UnknownName(f"column of the table {table!r}", column, known)
    return [*wanted, *(c for c in optional if c in known and c not in wanted)]


def _cell(table: pa.Table) -> pa.ListArray:
    """The table as one value: a list of its rows."""
    columns = [column.combine_chunks() for column in table.columns]
    rows = pa.StructArray.from_arrays(columns, fields=list(table.schema))
    return pa.ListArray.from_arrays(pa.array([0, len(table)], pa.int32()), rows)


def _damaged(path: Path, error: Exception) -> StoreError:
    what = next(iter(str(error).splitlines()), type(error).__name__)
    return StoreError(
        f"{path} is not a whole record ({what}): damaged, or cut off; restore it, or delete it "
        "and run again the command that made it"
    )
