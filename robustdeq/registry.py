"""Names to plug-ins: a file in the right folder *is* the registration.

The plug-in `random-states` of the kind `defenses` is the one class in `defenses/random_states.py`
that fulfils the contract `Defense`. Three places are searched: this package, the entry-point group
`robustdeq.<kind>` of installed distributions, and lone files loaded with `load_file`. Nothing is
stored here: what was imported stands in Python's own module table.
"""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from robustdeq.errors import ContractViolation, SpecError, UnknownName
from robustdeq.homes import LONE, RENAMED, default_name
from robustdeq.importing import importing
from robustdeq.kinds import CONTRACTS, contract, module_name, plugins_in, sole_plugin, unfinished
from robustdeq.plugin_files import files_of, forget_changed, listening
from robustdeq.untouched import untouched

# May open any file: what a data set reads has a digest of its own, and no record is of a report.
_FREE = ("data", "reports")


class Plugin:
    """What every contract inherits: a frozen dataclass with a name of its own.

    `version` is bumped whenever a shipped plug-in's numbers change, so that old and new records are
    never mixed. What comes from elsewhere is told apart by its content as well. A class attribute
    `name` may state the name; where there is a file, it is the file's.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def plugin_name(cls) -> str:
        """As stated by the class itself, else by default: see `robustdeq.homes.default_name`."""
        stated = vars(cls).get("name")
        return stated if isinstance(stated, str) else default_name(cls, cls.kind)

    def files(self) -> Iterable[str | Path]:
        """The files that it reads, beside its source and those that source or fields name."""
        return ()

    def relies_on(self) -> Iterable[tuple[str, str]]:
        """(kind, name) of the plug-ins that it names by class attributes."""
        return ()

    @classmethod
    def from_text(cls, text: str) -> "Plugin":
        """The plug-in of this kind that a bare name stands for, with default fields.

        Raises:
            SpecError: a field has no default; the message names it.
        """
        found = find(cls.kind, text)
        for field in dataclasses.fields(found):
            if field.init and field.default is field.default_factory is dataclasses.MISSING:
                raise SpecError(
                    f"{text!r} alone does not say {field.name!r}, which has no default; write a "
                    f'table: {{ name = "{text}", {field.name} = ... }}'
                )
        return found()


def names(kind: str) -> list[str]:
    """Every plug-in name of a kind, sorted.

    Raises:
        UnknownName: there is no such kind.
    """
    return sorted({*_own(kind), *_lone(kind), *_entry_points(kind)})


def find(kind: str, name: str) -> type:
    """The class behind a name.

    Raises:
        UnknownName: nothing answers to it; the message offers the nearest name.
        ContractViolation: its file does not hold exactly one class of the kind's contract, or its
            entry point leads elsewhere.
    """
    if name in (lone := _lone(kind)):
        return lone[name]
    name = RENAMED.get((kind, name), name)
    if name in _stems(kind):
        module = importlib.import_module(module_name(kind, name))
        if plugins_in(module, kind):
            return sole_plugin(module, kind)
    if name in (entries := _entry_points(kind)):
        return _checked(entries[name], kind)
    raise UnknownName(kind[:-1] if kind.endswith("s") else kind, name, names(kind))


def load_file(path: str | Path) -> list[tuple[str, str]]:
    """Import a lone plug-in file; returns the (kind, name) pairs it provides.

    Raises:
        SpecError: no such file, it is not Python, its name hides another plug-in, or importing it
            fails.
        ContractViolation: it does not define exactly one plug-in class, or importing it replaces a
            function of the package, which is put back.
        PluginEnded: importing it ends the program.
    """
    path = Path(path).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise SpecError(f"plug-in {str(path)!r} is not a Python file; give the path of a .py file")
    stem = path.stem.replace("-", "_")
    if not stem.isidentifier():
        raise SpecError(f"plug-in file {path.name!r} is no Python name; use letters, digits, _")
    spec = importlib.util.spec_from_file_location(f"{LONE}.{stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    if before is not None and before.__file__ != module.__file__:
        raise SpecError(f"{path} would hide the plug-in {before.__file__}; rename one of the files")
    forget_changed()
    sys.modules[spec.name] = module  # dataclasses look their own module up
    try:
        with untouched(f"plug-in {path}"), importing(str(path)), listening() as opened:
            exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
        kind, found = _provided(module, path)
        files_of(found, opened, free=kind in _FREE)
        return [(kind, found.plugin_name())]
    except BaseException:
        del sys.modules[spec.name]
        raise


def plugin_options() -> list[str]:
    """The options by which a command loads the lone files that this process has loaded."""
    modules = [m for n, m in list(sys.modules.items()) if n.startswith(f"{LONE}.")]
    return [word for module in modules for word in ("--plugin", str(module.__file__))]


def is_shipped(kind: str, name: str) -> bool:
    """Whether a name is that of a file of this package."""
    return RENAMED.get((kind, name), name) in _stems(kind)


def is_guest(plugin: type) -> bool:
    """Whether a plug-in is a lone file's or another distribution's, and not the package's own."""
    home = plugin.__module__
    if home.startswith("robustdeq."):
        return False
    entries = (entry for kind in CONTRACTS for entry in _entry_points(kind).values())
    return home.startswith(f"{LONE}.") or any(entry.module == home for entry in entries)


def _provided(module: ModuleType, path: Path) -> tuple[str, type[Plugin]]:
    """The kind and class of the one plug-in in a lone file's module."""
    kinds = [kind for kind in CONTRACTS if plugins_in(module, kind)]
    if len(kinds) != 1:
        raise ContractViolation(
            f"{path} defines plug-ins of {len(kinds)} kinds; {unfinished(module)}expected one "
            f"class that inherits one contract, for example robustdeq.defenses.base.Defense or "
            f"Wrapper"
        )
    found = sole_plugin(module, kinds[0])
    if (name := found.plugin_name()) in _own(kinds[0]):
        raise SpecError(f"{path} would hide the shipped {name!r} of {kinds[0]}; rename the file")
    return kinds[0], found


def _own(kind: str) -> set[str]:
    """The names of the package's files that hold a plug-in; the others are code these share."""
    modules = {name: importlib.import_module(module_name(kind, name)) for name in _stems(kind)}
    return {name for name, module in modules.items() if plugins_in(module, kind)}


@cache
def _stems(kind: str) -> frozenset[str]:
    folder = importlib.import_module(contract(kind).__module__.rpartition(".")[0])
    stems = {module.name for module in pkgutil.iter_modules(folder.__path__)}
    return frozenset(stem.replace("_", "-") for stem in stems - {"base"})


def _lone(kind: str) -> dict[str, type]:
    modules = [m for n, m in list(sys.modules.items()) if n.startswith(f"{LONE}.")]
    return {
        m.__name__.rpartition(".")[2].replace("_", "-"): sole_plugin(m, kind)
        for m in modules
        if plugins_in(m, kind)
    }


def _entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group=f"robustdeq.{kind}")}


def _checked(entry: importlib.metadata.EntryPoint, kind: str) -> type:
    with untouched(entry.value), importing(entry.value), listening() as opened:
        found = entry.load()
    if (
        inspect.isclass(found)
        and issubclass(found, contract(kind))
        and issubclass(found, Plugin)
        and not inspect.isabstract(found)
        and found.plugin_name() == entry.name
    ):
        files_of(found, opened, free=kind in _FREE)
        return found
    raise ContractViolation(
        f"the entry point {entry.name!r} of robustdeq.{kind} is {entry.value}; expected a "
        f"finished class that fulfils {CONTRACTS[kind]}, in a file of the entry point's name"
    )
