"""Reading and writing the files of a store: whole or not at all, with errors in sentences."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustdeq.errors import StoreError


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, replacing one that is there.

    Raises:
        StoreError: the folder cannot be written.
    """
    with _written(path, content) as temporary:
        os.replace(temporary, path)


def write_once(path: Path, content: bytes) -> None:
    """Write a file atomically, unless there is one.

    Raises:
        StoreError: the file exists, or the folder cannot be written.
    """
    with _written(path, content) as temporary:
        os.link(temporary, path)  # unlike a rename, fails where the name is taken


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        StoreError: it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; restore the file") from error


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        StoreError: it is missing, unreadable or no UTF-8.
    """
    try:
        return read(path).decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is not text; delete it and run the same command again") from error


def refuse_existing(path: Path) -> None:
    """Stop before work is spent on a file that `write_once` would not write.

    Raises:
        StoreError: the file exists.
    """
    if path.exists():
        raise _exists(path)


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """The content on disk under a temporary name, which is gone afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise StoreError(
            f"cannot write {path.name} to {path.parent}: {error.strerror}; make the results "
            "folder writable, free space on its disk, or choose another with --results"
        ) from error


def _exists(path: Path) -> StoreError:
    return StoreError(f"{path} exists; results are append-only, so add a run or retract it")
