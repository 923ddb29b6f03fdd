"""The kinds of plug-ins, the contract of each, and the plug-ins that a module holds."""

import importlib
import inspect
from types import ModuleType
from typing import Any

from robustdeq.errors import ContractViolation, UnknownName
from robustdeq.homes import default_name

# kind -> its contract; the package that holds the contract's `base` module holds the plug-ins.
CONTRACTS = {
    "adjoints": "Adjoint",
    "attacks": "Attack",
    "audits": "Audit",
    "data": "DataSource",
    "defenses": "Defense",
    "goals": "Goal",
    "loops": "Loop",
    "objectives": "Objective",
    "reports": "Report",
    "solvers": "Solver",
    "surrogates": "Surrogate",
    "threats": "ThreatModel",
}
# Kinds whose package lies within another one.
_INSIDE = {"loops": "training.loops", "reports": "results.reports"}


def contract(kind: str) -> Any:
    """The abstract class that the plug-ins of a kind fulfil.

    Raises:
        UnknownName: there is no such kind.
    """
    if kind not in CONTRACTS:
        raise UnknownName("kind of plug-in", kind, CONTRACTS)
    return getattr(importlib.import_module(module_name(kind, "base")), CONTRACTS[kind])


def module_name(kind: str, name: str) -> str:
    """Of the package's own file for a plug-in."""
    return f"robustdeq.{_INSIDE.get(kind, kind)}.{name.replace('-', '_')}"


def plugins_in(module: ModuleType, kind: str) -> list[type]:
    """The finished classes of a kind that a module defines."""
    base = contract(kind)
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and member.__module__ == module.__name__
        and issubclass(member, base)
        and not inspect.isabstract(member)
    ]


def sole_plugin(module: ModuleType, kind: str) -> type:
    """The one plug-in of a kind that a module defines.

    Raises:
        ContractViolation: there are more or none, or it states another name than its file's.
    """
    plugins = plugins_in(module, kind)
    if len(plugins) != 1:
        raise ContractViolation(
            f"{module.__name__} defines {len(plugins)} plug-ins of {kind}; expected one per file"
        )
    stated, expected = plugins[0].plugin_name(), default_name(plugins[0], kind)
    if stated != expected:
        raise ContractViolation(
            f"{module.__file__} states the name {stated!r}, but a plug-in is found by its file, "
            f"which says {expected!r}: rename one of the two"
        )
    return plugins[0]


def unfinished(module: ModuleType) -> str:
    """What the classes of a module lack that would otherwise be plug-ins."""
    found = [
        f"{name} lacks {', '.join(f'`{hook}`' for hook in sorted(member.__abstractmethods__))}; "
        for name, member in vars(module).items()
        if inspect.isabstract(member)
        and any(issubclass(member, contract(kind)) for kind in CONTRACTS)
        and member.__module__ == module.__name__
    ]
    return "".join(found)
