"""Reading and writing the files of a store: whole or not at all, with errors in sentences."""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robustdeq.errors import AlreadyStored, StoreError

# Errors of a disk rather than of a file system that knows no hard links.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT})
_PATIENCE = 2.0  # seconds that a claimed name may stay empty: its content lies ready beside it


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
        AlreadyStored: the file exists; it is left as it is.
        StoreError: the folder cannot be written.
    """
    with _written(path, content) as temporary:
        try:
            os.link(temporary, path)  # unlike a rename, fails where the name is taken
        except OSError as error:
            if path.exists() and not _abandoned(path):
                raise _exists(path) from None
            if error.errno in _DISK:
                raise
            _claim(path)  # exFAT and some network and user-space file systems have no links
            os.replace(temporary, path)


def _claim(path: Path) -> None:
    """Take a free name with an empty file, for this process to replace at once.

    Raises:
        FileExistsError: a whole file has the name, or somebody is about to put one there.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        with suppress(FileNotFoundError):
            while path.stat().st_size == 0 and time.time() - path.stat().st_mtime < _PATIENCE:
                time.sleep(0.05)
        if not _abandoned(path):
            raise
        os.utime(path)  # whoever made it was killed; the name is ours now


def _abandoned(path: Path) -> bool:
    """Whether the name is taken by an empty file, which a killed process left."""
    return path.is_file() and path.stat().st_size == 0


def listed(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder that are whole: neither hidden nor claimed, by name.

    Systems put files of their own beside others: `._x.json`, `.DS_Store`.
    """
    return sorted(
        path
        for path in folder.glob(f"*{suffix}")
        if not path.name.startswith(".") and not _abandoned(path)
    )


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
        return read(path).decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path} is not text; restore it, or delete it and run again the command that made it"
        ) from error


def refuse_existing(path: Path) -> None:
    """Stop before work is spent on a file that `write_once` would not write.

    Raises:
        AlreadyStored: the file exists.
        StoreError: the name is a link to nothing.
    """
    _refuse_dangling(path)
    if path.exists() and not _abandoned(path):
        raise _exists(path)


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """The content on disk under a temporary name, which is gone afterwards."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    for each in (path, *path.parents):
        _refuse_dangling(each)
    try:
        _make_folder(path.parent)
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # which is said of the folder, not of the file to be written
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _refuse_dangling(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise StoreError(
            f"{path} is a link to {os.readlink(path)}, which is not there; make that, or remove "
            "the link"
        )


def _exists(path: Path) -> AlreadyStored:
    return AlreadyStored(f"{path} exists; results are append-only, so add a run or retract it")
