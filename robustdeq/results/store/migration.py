"""The one-time migration of a results folder of schema 1: one file a record, and names with data.

Names of folders, weights, records and retractions follow from specifications, which now hold the
digest of the training data. Every step may be repeated: what is there already is left, and what is
old goes last.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from robustdeq.errors import AlreadyStored, StoreError
from robustdeq.results.store.files import listed, read_text, write, write_once
from robustdeq.results.store.identity import entrant_id, on_data, trial_id
from robustdeq.results.store.record import Record
from robustdeq.results.store.record_file import pack
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.retraction import Retraction
from robustdeq.results.store.schema1 import OldRecordFile


@dataclass(frozen=True)
class Migrated:
    """How much of each was brought over, and the folders of entrants that were left."""

    records: int
    entrants: int
    retractions: int
    left: tuple[str, ...]


def slices(root: Path | str) -> dict[str, str]:
    """The data that the old records of a folder are of: digest of the test slice to name."""
    files = _old(ResultStore(root))
    return {file.record.data["digest"]: file.record.data["name"] for file in files}


def migrate(root: Path | str, trained_on: Mapping[str, str]) -> Migrated:
    """Bring a folder over, in place.

    Args:
        trained_on: digest of a test slice -> digest of the training data that comes with it.

    Raises:
        StoreError: a record is damaged or contradicts itself, or the folder cannot be written.
    """
    store = ResultStore(root)
    store.scan()  # nothing is brought over that does not prove itself
    old = _old(store)
    stems = {file.record.stem: _moved(file.record, trained_on).stem for file in old}
    for file in old:
        tables = {name: file.table(name) for name in file.tables}
        path = store.records / f"{stems[file.record.stem]}.parquet"
        _once(path, pack(_moved(file.record, trained_on), tables))
    retractions = _retractions(store, stems)
    entrants, left = _entrants(store, old, trained_on)
    for file in old:
        for path in store.records.glob(f"{file.record.stem}.*"):
            if path.name != f"{file.record.stem}.parquet":
                path.unlink()
    return Migrated(len(old), entrants, retractions, tuple(left))


def _old(store: ResultStore) -> list[OldRecordFile]:
    paths = listed(store.records, ".json")
    return [OldRecordFile(path) for path in paths]


def _moved(record: Record, trained_on: Mapping[str, str]) -> Record:
    """The record of the trial that names its training data."""
    entrant = on_data(record.entrant, trained_on[record.data["digest"]])
    trial = trial_id(entrant, record.column, record.data, record.threat)
    return replace(record, entrant=entrant, trial=trial)


def _retractions(store: ResultStore, stems: Mapping[str, str]) -> int:
    """Withdraw the records by their new names."""
    known = [each for stem, each in store.retractions().items() if stem in stems]
    for old in known:
        replacement = old.replaced_by and stems.get(old.replaced_by, old.replaced_by)
        new = Retraction(old.schema, stems[old.stem], old.reason, replacement)
        _once(store.retraction_path(new.stem), new.to_json().encode())
    for old in known:
        store.retraction_path(old.stem).unlink()
    return len(known)


def _entrants(
    store: ResultStore, old: list[OldRecordFile], trained_on: Mapping[str, str]
) -> tuple[int, list[str]]:
    """Give folders and weights their new names; returns how many, and what could not be told."""
    data = _data_of_weights(old, trained_on)
    only = next(iter(trained_on.values())) if len(set(trained_on.values())) == 1 else None
    moved, left = 0, []
    for path in sorted(store.entrants.glob("*/entrant.json")):
        facts = json.loads(read_text(path))
        if facts["entrant"].get("data"):
            continue
        digest = data.get(facts["checkpoint"], only)
        if digest is None:
            left.append(path.parent.name)
            continue
        new = {**facts, "entrant": on_data(facts["entrant"], digest)}
        name = entrant_id(new["entrant"])
        text = json.dumps(new, indent=1, ensure_ascii=False) + "\n"
        weights = store.checkpoints / f"{path.parent.name}.safetensors"
        if weights.exists():
            os.replace(weights, store.checkpoints / f"{name}.safetensors")
        write(store.entrants / name / path.name, text.encode())
        shutil.rmtree(path.parent)
        moved += 1
    return moved, left


def _data_of_weights(old: list[OldRecordFile], trained_on: Mapping[str, str]) -> dict[str, str]:
    """The training data of every checkpoint that a record names, as entrant or as source."""
    found = {}
    for file in old:
        digest = trained_on[file.record.data["digest"]]
        for source in file.record.sources:
            found[source["checkpoint"]] = digest
        found[file.record.checkpoint] = digest
    return found


def _once(path: Path, content: bytes) -> None:
    """Write a file, or find that an earlier try has written the same.

    Raises:
        StoreError: it is there with another content.
    """
    try:
        write_once(path, content)
    except AlreadyStored:
        if path.read_bytes() != content:
            raise StoreError(
                f"{path} is there and differs from what it is to be migrated from; move it away"
            ) from None
