"""Records of schema 1, a JSON file and a Parquet file for each table: read, and no longer written.

`robustdeq migrate` brings a folder of them over.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robustdeq.errors import StoreError
from robustdeq.results.store.files import read, read_text
from robustdeq.results.store.record import SCHEMA, Record
from robustdeq.results.store.record_file import select


class OldRecordFile:
    """A record of schema 1 as it lies on disk, its tables beside it; otherwise as `RecordFile`.

    Raises:
        StoreError: it is missing, cut off or damaged.
    """

    def __init__(self, path: Path):
        self.path, text = path, read_text(path)
        try:
            content = json.loads(text)
            self._digests = content.pop("tables", {}) if isinstance(content, dict) else {}
        except json.JSONDecodeError:
            content = None
        if isinstance(content, dict) and content.get("schema") == 1:
            text = json.dumps({**content, "schema": SCHEMA})
        self.record = Record.from_json(text, str(path))
        self.tables = tuple(self._digests)

    def table(
        self, name: str, columns: Iterable[str] | None = None, optional: Iterable[str] = ()
    ) -> pa.Table:
        """A table of the record, its digest verified; see `ResultStore.table`."""
        if name not in self._digests:
            raise StoreError(
                f"{self.path} has no table {name!r}; it has {', '.join(self.tables) or 'none'}"
            )
        path = self.path.with_name(f"{self.path.stem}.{name}.parquet")
        content = read(path)
        if hashlib.sha256(content).hexdigest() != self._digests[name]:
            raise StoreError(
                f"{path} is damaged: its digest is not the recorded one; restore it, or delete "
                f"{self.path} and run again the command that made it"
            )
        file = pq.ParquetFile(pa.BufferReader(content))
        wanted = select(name, file.schema_arrow.names, columns, optional)
        return file.read(columns=wanted, use_threads=False)
