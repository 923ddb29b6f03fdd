"""The files that a plug-in from elsewhere is made of and reads: their content is its identity.

Counted are its source, the local modules that it imports, the files that these name in a string,
and whatever is opened while it is imported. What it opens later has to be among these, or among the
files that it declares: anything else would change its numbers under an old name, and is refused.
Python tells of its own `open` alone; some libraries that read files without it are listed.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from robustdeq.errors import SpecError
from robustdeq.homes import LONE
from robustdeq.source_files import belongs_to, file_digest, named_files

SILENT = frozenset(
    {
        "cv2", "h5py", "lmdb", "onnxruntime", "pyarrow", "safetensors", "sqlite3", "tables",
        "torch.from_file", "torch.jit.load",
    }
)  # fmt: skip
_KEY = "__plugin_files__"  # where a plug-in and its module hold their `PluginFiles`
_MARK = "__plugin_digest__"  # where a local module that is part of one holds its file's digest


@dataclass(frozen=True)
class PluginFiles:
    """What the module of one plug-in is made of and reads.

    Attributes:
        path: of its source.
        module: its full name; of a lone file, the stem.
        counted: the digest of each file that is part of its identity, as it was when the module was
            imported.
        silent: the libraries it imports whose reading nobody hears of.
        free: whether it may read anything.
        declared: further files, which single plug-ins name in their fields or in `files()`.
    """

    path: Path
    module: str
    counted: dict[Path, str]
    silent: frozenset[str]
    free: bool
    declared: set[Path] = field(default_factory=set)

    @property
    def digest(self) -> str:
        """Of the names and contents of all counted files, 32 hex digits."""
        told = sorted((path.name, digest) for path, digest in self.counted.items())
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    @property
    def reads(self) -> bool:
        """Whether a file is counted that is no Python source."""
        return any(path.suffix != ".py" for path in self.counted)

    def require_known(self, path: Path) -> None:
        """Hear of a file that is opened to be read.

        Raises:
            SpecError: nobody knows of it.
        """
        known = self.free or path in self.counted or path in self.declared
        if not known and belongs_to(path, self.module, self.path):
            raise SpecError(
                f"{self.path} opens {path}, whose content is no part of the plug-in's identity, so "
                f"results would keep their name when it changes; return its path from `files()`, "
                f"name it in a field, or read it where the plug-in is imported"
            )


@contextmanager
def listening() -> Iterator[set[Path]]:
    """The files that are opened to be read while a plug-in is imported.

    No compiled modules are left behind: Python takes one for the source if their size and second
    are the same.
    """
    _listen()
    opened: set[Path] = set()
    token, before = _importing.set(opened), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield opened
    finally:
        sys.dont_write_bytecode = before
        _importing.reset(token)


def files_of(cls: type, opened: Collection[Path] = (), free: bool = False) -> PluginFiles:
    """What the module of a plug-in is made of and reads; from now on it may read nothing else.

    It is found once, and holds of the class as it was made then.

    Args:
        opened: what was opened while the module was imported.
        free: whether it may read anything; so a data source, whose images have digests themselves.
    """
    if (known := vars(cls).get(_KEY)) is not None:
        return known
    module = sys.modules[cls.__module__]
    assert module.__file__ is not None, "what has a home has a file"
    path, name = Path(module.__file__).resolve(), module.__name__.removeprefix(f"{LONE}.")
    named, packages = named_files(path, name)
    own = (one for one in opened if belongs_to(one, name, path))
    counted = {one: file_digest(one) for one in own} | named
    files = PluginFiles(path, name, counted, SILENT & packages, free)
    vars(module)[_KEY] = files
    setattr(cls, _KEY, files)  # a module of the same name may take the place of this one
    for helper in _modules_of(counted):
        vars(helper)[_MARK] = counted[Path(str(helper.__file__)).resolve()]
    return files


def forget_changed() -> None:
    """Have the local modules that plug-ins import imported anew, if the file of one has changed."""
    marked = {
        name: module
        for name, module in list(sys.modules.items())
        if _MARK in getattr(module, "__dict__", {}) and _KEY not in vars(module)
    }
    if any(vars(module)[_MARK] != _present(module) for module in marked.values()):
        for name in marked:  # those that have not changed hold what they took from those that have
            del sys.modules[name]


_importing: ContextVar[set[Path] | None] = ContextVar("importing", default=None)


def _present(module: ModuleType) -> str:
    """The digest of a module's file as it is now; nothing if it is gone."""
    path = Path(str(module.__file__)).resolve()
    return file_digest(path) if path.is_file() else ""


def _modules_of(files: Collection[Path]) -> Iterator[ModuleType]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve() in files:
            yield module


@cache
def _listen() -> None:
    """Hear of every file that is opened from now on; Python has no way to stop listening."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | bytes) or not _to_read(arguments):
        return
    opened, reader = _importing.get(), _reader(sys._getframe(1))
    if opened is None and reader is None:
        return
    path = _source_of(Path(os.path.realpath(os.fsdecode(arguments[0]))))
    if not path.is_file():
        return
    if opened is not None:
        opened.add(path)
    elif reader is not None:
        reader.require_known(path)


def _to_read(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return (flags or 0) & (os.O_WRONLY | os.O_RDWR) != os.O_WRONLY


def _reader(frame: FrameType | None) -> PluginFiles | None:
    """The innermost plug-in that the present call comes from."""
    while frame is not None:
        if (found := frame.f_globals.get(_KEY)) is not None:
            return found
        frame = frame.f_back
    return None


def _source_of(path: Path) -> Path:
    """The source of a compiled module; any other file is itself."""
    if path.suffix != ".pyc":
        return path
    try:
        return Path(importlib.util.source_from_cache(str(path)))
    except ValueError:
        return path
