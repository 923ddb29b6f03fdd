"""What a plug-in's class says: names that nothing calls, and hooks that cannot be called."""

import dataclasses
import difflib
import inspect
from collections.abc import Iterator
from typing import Any

from robustdeq.kinds import contract
from robustdeq.registry import Plugin

_METHOD, _VALUE = 0.8, 0.85  # how alike two names are that are one name and a slip of the hand


def contract_of(plugin: type[Plugin]) -> type[Plugin]:
    """The class of its contract's module that a plug-in inherits from: `Wrapper`, for example."""
    module = contract(plugin.kind).__module__
    return next(each for each in plugin.__mro__ if each.__module__ == module)


def misspelled(plugin: type[Plugin]) -> Iterator[str]:
    """A complaint about every name that is nearly one of the contract's, which it does not define.

    A helper beside the hook itself (`transformed` next to `transform`) is no slip, and neither is a
    field, which is configuration, unless its default is what the contract keeps under that name.
    """
    known = {name for name in dir(contract_of(plugin)) if not name.startswith("_")}
    own = _own(plugin)
    fields = {f.name: f.default for f in dataclasses.fields(plugin)}  # pyright: ignore[reportArgumentType]
    for name, value in own.items():
        if name in known or (name in fields and not _same_kind(plugin, name, fields[name], known)):
            continue
        if (near := _nearest(name, known, callable(value))) and near not in own:
            yield (
                f"{plugin.__name__} has {name!r}, which nothing asks for; did you mean {near!r}? "
                f"Name it so, or {'_' + name!r} if it is a helper of its own"
            )


def uncallable(plugin: type[Plugin]) -> Iterator[str]:
    """A complaint about every hook that does not take what the contract hands it."""
    base = contract_of(plugin)
    for name, own in _own(plugin).items():
        promised = inspect.getattr_static(base, name, None)
        if not (inspect.isfunction(own) and inspect.isfunction(promised)):
            continue
        wanted = list(inspect.signature(promised).parameters)
        try:
            inspect.signature(own).bind(*wanted)
        except TypeError as error:
            yield (
                f"`{name}{inspect.signature(own)}` is called with ({', '.join(wanted)}): {error}; "
                f"give it these arguments"
            )


def _own(plugin: type[Plugin]) -> dict[str, Any]:
    """The public attributes that a plug-in adds to its contract, the outermost class's last."""
    base, found = contract_of(plugin), {}
    for each in reversed([k for k in plugin.__mro__ if not issubclass(base, k)]):
        found |= {n: inspect.getattr_static(plugin, n) for n in vars(each) if n[0] != "_"}
        found |= {n: None for n in vars(each).get("__annotations__", {}) if n not in found}
    return found


def _nearest(name: str, known: set[str], method: bool) -> str:
    cutoff = _METHOD if method else _VALUE
    return "".join(difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=cutoff))


def _same_kind(plugin: type[Plugin], name: str, default: Any, known: set[str]) -> bool:
    """Whether a field's default could be the contract's value of the name that it is near to."""
    near = _nearest(name, known, method=False)
    promised = inspect.getattr_static(plugin, near, None) if near else None
    return isinstance(default, str | tuple) and type(default) is type(promised)
