"""Records held against themselves and against each other, as they are read."""

from collections.abc import Iterable

from robustdeq.errors import StoreError
from robustdeq.results.store.cross_proof import Proven, disagreements
from robustdeq.results.store.proof import COLUMNS, Proof, prove, proving, specified
from robustdeq.results.store.record_file import RecordFile
from robustdeq.results.store.schema1 import OldRecordFile

Opened = RecordFile | OldRecordFile
# What a proof meets in a record whose parts are not of the kinds that they should be.
_MISSHAPEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


def proven(files: Iterable[Opened]) -> list[Proven]:
    """The records with what their samples say of each image.

    Raises:
        StoreError: one contradicts itself or another one; the message names the files.
    """
    found, paths = [], {}
    for file in files:
        proof = _proof(file)
        if proof.contradictions:
            raise _contradicts(file, proof.contradictions)
        found.append((file.record, proof.verdicts))
        paths[file.record.stem] = file.path
    for one, other, told in disagreements(found):
        raise StoreError(
            f"{paths[one.stem]} and {paths[other.stem]} contradict each other: {told}; restore the "
            f"wrong one, or retract it"
        )
    return found


def require_specified(file: Opened) -> None:
    """Hold a record's name and specification against each other, whatever it is about.

    Raises:
        StoreError: they contradict each other.
    """
    try:
        told = tuple(specified(file.record))
    except _MISSHAPEN as error:
        raise _misshapen(file, error) from None
    if told:
        raise _contradicts(file, told)


def _proof(file: Opened) -> Proof:
    record = file.record
    try:
        wanted = [name for name in proving(record) if name in file.tables]
        return prove(record, {name: file.table(name, *COLUMNS.get(name, ())) for name in wanted})
    except _MISSHAPEN as error:
        raise _misshapen(file, error) from None


def _contradicts(file: Opened, told: Iterable[str]) -> StoreError:
    return StoreError(
        f"{file.path} contradicts itself: {'; '.join(told)}; restore the file, or delete it and "
        f"run again the command that made it"
    )


def _misshapen(file: Opened, error: Exception) -> StoreError:
    return StoreError(
        f"{file.path} is damaged: a part of it is missing or of another kind "
        f"({type(error).__name__}: {error}); restore the file, or delete it and run again the "
        f"command that made it"
    )
