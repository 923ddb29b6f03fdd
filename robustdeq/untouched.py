"""What somebody else's code may not replace: the package's functions, and torch's.

This tells a careless patch and undoes it. Code that wants to deceive can hide from whatever runs in
its own process; that is what other processes are for.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from robustdeq.errors import ContractViolation

_TORCH = ("torch", "torch.nn.functional", "torch.autograd", "torch.linalg")
_OTHERS = ("builtins", "json", "numpy", "pyarrow")  # that print and count, too
_TORCH_CLASSES = (("torch", "Tensor"), ("torch.nn", "Module"))


@dataclass(frozen=True)
class _Owner:
    """A module or class, and the functions in it with their code as they were."""

    owner: Any
    parts: dict[str, tuple[Any, Any]]

    @classmethod
    def of(cls, owner: Any) -> "_Owner":
        return cls(owner, {name: (part, _code(part)) for name, part in _functions(owner)})

    def restore(self) -> list[str]:
        """Put back what has been replaced; returns its names."""
        there, home = dict(_functions(self.owner)), _title(self.owner)
        changed = [
            name
            for name, (part, code) in self.parts.items()
            if (there.get(name) is not part or _code(part) != code) and not _of_torch(there, name)
        ]
        for name in changed:
            part, code = self.parts[name]
            setattr(self.owner, name, part)
            if code is not None:
                part.__code__, part.__defaults__ = code
        if inspect.isclass(self.owner):  # a method of a base may be hidden
            added = [
                name for name in there.keys() - self.parts.keys() if not _of_torch(there, name)
            ]
            for name in added:
                delattr(self.owner, name)
            changed += added
        return [f"{home}.{name}" for name in changed]


@contextmanager
def untouched(who: str) -> Iterator[None]:
    """Run somebody's code, and put back whatever it replaces.

    Args:
        who: what to call it in the message.

    Raises:
        ContractViolation: it replaced something; the message names it.
    """
    before = list(map(_Owner.of, _owners()))
    try:
        yield
    finally:
        changed = [name for owner in before for name in owner.restore()]
    if changed:
        raise ContractViolation(
            f"{who} replaces {', '.join(changed)}; a plug-in changes nothing of the package or of "
            f"torch: subclass a contract, or compose what is there"
        )


def _owners() -> Iterator[Any]:
    """Every module and class of the package, and those of torch that decide a figure."""
    for module in _package():
        yield module
        for member in list(vars(module).values()):
            if inspect.isclass(member) and member.__module__ == module.__name__:
                yield member
    yield from (sys.modules[name] for name in (*_TORCH, *_OTHERS) if name in sys.modules)
    yield from (getattr(sys.modules[name], member) for name, member in _TORCH_CLASSES)


def package_modules() -> list[str]:
    """The names of all modules of the package."""
    found = pkgutil.walk_packages(sys.modules["robustdeq"].__path__, "robustdeq.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def _package() -> list[ModuleType]:
    """All modules of the package, so that none is imported first by whoever patches it."""
    return [importlib.import_module(name) for name in package_modules()]


def _functions(owner: Any) -> Iterator[tuple[str, Any]]:
    for name, part in list(vars(owner).items()):
        if callable(part) or isinstance(part, (property, classmethod, staticmethod)):
            yield name, part


def _code(part: Any) -> Any:
    return (part.__code__, part.__defaults__) if isinstance(part, FunctionType) else None


def _of_torch(there: dict[str, Any], name: str) -> bool:
    """Whether a part is now a function of torch's own, which replaces some of them in passing."""
    part = there.get(name)
    home = str(Path(str(sys.modules["torch"].__file__)).parent)
    return isinstance(part, FunctionType) and part.__code__.co_filename.startswith(home)


def _title(owner: Any) -> str:
    return f"{owner.__module__}.{owner.__qualname__}" if inspect.isclass(owner) else owner.__name__
