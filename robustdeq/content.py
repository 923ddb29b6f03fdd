"""What a plug-in is, where its name and version do not say it: the digest of its content.

A shipped plug-in is what its name and version promise. One from a lone file or another distribution
is identified by its source and by every file that it reads, one without a file by its definition.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from robustdeq.definition import definition
from robustdeq.errors import SpecError
from robustdeq.homes import home
from robustdeq.plugin_files import files_of
from robustdeq.registry import Plugin, find, is_shipped
from robustdeq.source_files import file_digest, is_file, looks_like_path


def content(plugin: Plugin) -> str:
    """32 hex digits, or nothing for a shipped plug-in that reads no file.

    Raises:
        SpecError: a file that it names is missing, it may read files that nobody hears of, or it
            has no file and its definition cannot be told.
    """
    parts = [*_definition(type(plugin)), *_files(plugin), *_relied_on(plugin)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32] if parts else ""


def declare(plugin: Plugin) -> None:
    """Let a plug-in open the files that it names, though nobody has asked for its identity yet.

    Raises:
        SpecError: as `content` does of its files.
    """
    for _ in _files(plugin):
        pass


def _definition(cls: type[Plugin]) -> Iterator[Any]:
    where = home(cls, cls.kind)
    if where == "nowhere":
        yield definition(cls)
    elif where != "package":
        yield files_of(cls).digest
        yield [(base.plugin_name(), base.version) for base in cls.__mro__[1:] if _shipped(base)]


def _shipped(base: type) -> bool:
    own = issubclass(base, Plugin) and not inspect.isabstract(base) and base is not Plugin
    return own and home(base, base.kind) == "package"


def _files(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """The name and digest of each file that this one plug-in declares or names in a field."""
    declared = [Path(file).resolve() for file in plugin.files()]
    where, folders = home(type(plugin), plugin.kind), [Path()]
    if where in ("file", "entry point"):
        folders.append(files_of(type(plugin)).path.parent)
    if where != "package":
        values = [getattr(plugin, field.name) for field in fields(plugin)]  # type: ignore[arg-type]
        declared += [path for value in values for path in _paths(value, folders)]
    if where in ("file", "entry point"):
        files = files_of(type(plugin))
        files.declared.update(declared)
        if files.silent and not (files.reads or declared or _says_what_it_reads(type(plugin))):
            raise SpecError(
                f"{files.path} uses {', '.join(sorted(files.silent))}, which may read files "
                f"that nobody hears of; return them from a method `files()`, or () if none is read"
            )
    yield from ((path.name, file_digest(path)) for path in declared)


def _says_what_it_reads(cls: type[Plugin]) -> bool:
    return cls.files is not Plugin.files


def _paths(value: Any, folders: Sequence[Path]) -> Iterator[Path]:
    """The existing files that a field's value names, in one of the folders or wherever it says."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _paths(item, folders)
    elif isinstance(value, str) and looks_like_path(value):
        yield from (path.resolve() for folder in folders if is_file(path := folder / value))


def _relied_on(plugin: Plugin) -> Iterator[str]:
    """The content of the plug-ins that it names by class attributes."""
    for kind, name in plugin.relies_on():
        if not is_shipped(kind, name):
            yield from _definition(find(kind, name))
