"""What a class without a file of its own is: its code, and every value that this code can reach.

A class of a script, a notebook cell, `exec` or a function has no name in the world that could stand
for its content. So its code is followed: methods, defaults, closures, the globals they read, the
classes it inherits from. What belongs to Python, a library or this package goes by its name, what
names a file by the file's content, and what cannot be told apart by content is refused.
"""

import dataclasses
import dis
import functools
import hashlib
import pickle
import sys
import types
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from robustdeq.errors import SpecError
from robustdeq.source_files import file_digest, is_file, is_local, looks_like_path

_PLAIN = (type(None), bool, int, float, complex, bytes, Fraction, type(Ellipsis))
_BUILT_IN = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
_MADE_BY_PYTHON = 1 << 9  # the flag of a class that a class statement has made
_READING = ("LOAD_GLOBAL", "LOAD_NAME")
_METHODS = (staticmethod, classmethod, functools.cached_property, types.MethodType)
# Of every class, or made anew from its fields for each dataclass.
_NO_PART = {
    "__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__annotations__",
    "__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__slots__",
    "__dataclass_params__", "__match_args__", "__init__", "__repr__", "__eq__", "__hash__",
    "__setattr__", "__delattr__", "__firstlineno__", "__static_attributes__", "__replace__",
    "__plugin_files__",  # of a class that has a file
}  # fmt: skip


def definition(cls: type) -> str:
    """The digest of all that a class is, 32 hex digits.

    Raises:
        SpecError: it reaches something whose content cannot be told.
    """
    sha = hashlib.sha256()
    try:
        for part in _Walk().of(cls, own=True):
            sha.update(part)
            sha.update(b"\0")
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(
            f"the class {cls.__qualname__!r} has no file of its own, and its content cannot be "
            f"told ({error}); put it into a Python file and load that with --plugin"
        ) from None
    return sha.hexdigest()[:32]


class _Walk:
    """One walk over everything that a class reaches, each thing once."""

    def __init__(self):
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no two things have one id

    def of(self, value: Any, own: bool = False) -> Iterator[bytes]:
        """The content of a value in bytes; `own` follows a class wherever it is from."""
        if isinstance(value, _PLAIN):
            yield f"{type(value).__name__} {value!r}".encode()
            return
        if isinstance(value, str | PurePath):
            yield from _text(str(value))
            return
        if id(value) in self._seen:
            yield f"again {self._seen[id(value)]}".encode()
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        yield type(value).__qualname__.encode()
        yield from self._compound(value, own)

    def _compound(self, value: Any, own: bool) -> Iterator[bytes]:
        if isinstance(value, type):
            yield from self._class(value) if own or _is_own(value) else _named(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value) if _is_own(value) else _named(value)
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, types.ModuleType):
            yield from _module(value)
        elif isinstance(value, dict):
            yield from self._each(item for pair in value.items() for item in pair)
        elif isinstance(value, tuple | list):
            yield from self._each(value)
        elif isinstance(value, set | frozenset):
            yield from self._each(sorted(value, key=repr))
        elif isinstance(value, property):
            yield from self._each((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.partial):
            yield from self._each((value.func, value.args, value.keywords))
        elif isinstance(value, _METHODS):
            yield from self.of(getattr(value, "__func__", None) or getattr(value, "func", None))
        else:
            yield from self._object(value)

    def _each(self, values: Iterable[Any]) -> Iterator[bytes]:
        for value in values:
            yield from self.of(value)
        yield b"end"

    def _class(self, cls: type) -> Iterator[bytes]:
        yield cls.__name__.encode()
        yield from self._each(cls.__bases__)
        for name, value in sorted(vars(cls).items()):
            if name == "__dataclass_fields__":
                yield from self._fields(value)
            elif name not in _NO_PART:
                yield name.encode()
                yield from self.of(value)

    def _fields(self, fields: dict[str, dataclasses.Field]) -> Iterator[bytes]:
        for name, field in fields.items():
            yield f"field {name} {field.type}".encode()
            for default in (field.default, field.default_factory):
                if default is not dataclasses.MISSING:
                    yield from self.of(default)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        code = function.__code__
        yield from self._each((code, function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                yield from self.of(cell.cell_contents)
            except ValueError:  # not filled yet: a class that is still being made
                yield b"empty"
        for name in sorted(_globals_read(code)):
            if name in function.__globals__:
                yield name.encode()
                yield from self.of(function.__globals__[name])

    def _code(self, code: types.CodeType) -> Iterator[bytes]:
        yield code.co_code
        yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_flags)).encode()
        yield from self._each(code.co_consts)

    def _object(self, value: Any) -> Iterator[bytes]:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch is not None and isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            yield f"{value.dtype} {value.shape}".encode() + value.tobytes()
        elif isinstance(value, _BUILT_IN):
            yield from _named(value)
        elif _is_own(type(value)) or (torch is not None and isinstance(value, torch.nn.Module)):
            yield from self._each((type(value), getattr(value, "__dict__", None)))
        else:
            yield pickle.dumps(value, protocol=4)


def _text(text: str) -> Iterator[bytes]:
    """A text, and the content of the local file that it names, if it does."""
    yield b"str " + text.encode(errors="surrogatepass")
    if looks_like_path(text) and is_file(Path(text)) and is_local(Path(text).resolve()):
        yield file_digest(Path(text).resolve()).encode()


def _is_own(value: Any) -> bool:
    """Whether a class or function is somebody's own, and so is known by its content alone."""
    name = value.__module__ or ""
    if "<locals>" in value.__qualname__ or name == "__main__" or name not in sys.modules:
        return True
    if name == "builtins":  # what `exec` defines without a name of a module says so, too
        return not isinstance(value, type) or bool(value.__flags__ & _MADE_BY_PYTHON)
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and is_local(Path(file).resolve())


def _named(value: Any) -> Iterator[bytes]:
    """What belongs to Python, a library or this package: by its name, and version if it has one."""
    module = getattr(value, "__module__", None)
    yield f"{module}.{value.__qualname__} {getattr(value, 'version', '')}".encode()


def _module(module: types.ModuleType) -> Iterator[bytes]:
    """A module by its name, a local one by its content."""
    yield module.__name__.encode()
    path = Path(getattr(module, "__file__", None) or "")
    if path.is_file() and is_local(path.resolve()):
        yield file_digest(path.resolve()).encode()


def _globals_read(code: types.CodeType) -> set[str]:
    """The names of globals that a code and those within it read."""
    reads = {i.argval for i in dis.get_instructions(code) if i.opname in _READING}
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return reads.union(*map(_globals_read, inner))
