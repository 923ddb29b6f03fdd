"""Frozen dataclasses to and from plain TOML/JSON data, strictly, and the digest that names them.

Decoding refuses whatever it does not know, naming the key, the value and the nearest right one,
before any compute is spent. Encoding leaves out fields that equal their default, so that a field
added later changes no digest made before; a changed default therefore has to bump `version`.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from robustdeq.content import content
from robustdeq.errors import SpecError, nearest
from robustdeq.registry import Plugin, find
from robustdeq.scalars import SCALARS, at, expect, one_of, scalar

T = TypeVar("T")
_IDENTITY = ("name", "version", "content")  # what a plug-in's table says beside its fields


def encode(value: Any) -> Any:
    """Plain data (dict, list, str, int, float, bool, None) for a spec value; undo with `decode`."""
    if isinstance(value, Fraction):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
        if isinstance(value, Plugin):
            return _identified(value, fields)
        return fields
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{value} cannot be written in a spec; expected a finite number")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise SpecError(f"{value!r} of type {type(value).__name__} cannot be written in a spec")


def _identified(plugin: Plugin, fields: dict[str, Any]) -> dict[str, Any]:
    """A plug-in's table: its name and version, its content where these do not say it, its fields.

    Raises:
        SpecError: a field has the name of one of these, or the content cannot be told.
    """
    name, told = plugin.plugin_name(), content(plugin)
    for field in dataclasses.fields(plugin):  # type: ignore[arg-type]
        if field.name in _IDENTITY:
            raise SpecError(
                f"{name!r} has a field {field.name!r}, under which a spec writes what the plug-in "
                f"is; give the field another name"
            )
    return {
        "name": name,
        "version": plugin.version,
        **({"content": told} if told else {}),
        **fields,
    }


def decode(wanted: type[T], data: Any, where: str = "") -> T:
    """The value of type `wanted` that plain data describes.

    Args:
        where: the path of `data` in its file, for messages ("columns[2].attack").

    Raises:
        SpecError: a key is unknown or missing, or a value has the wrong type or range.
        UnknownName: a plug-in name that nothing answers to.
    """
    return _decode(wanted, data, where)


def digest(value: Any, length: int = 16) -> str:
    """The identity of a spec value: hex SHA-256 of its canonical JSON, cut to `length` digits."""
    return plain_digest(encode(value), length)


def plain_digest(data: Any, length: int = 16) -> str:
    """The identity of a spec value that is encoded already."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()[:length]


def canonical(data: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one value."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return type(field.default) is type(value) and field.default == value
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory() == value
    return False


def _decode(wanted: Any, data: Any, where: str) -> Any:
    if wanted is Any:
        return data
    if wanted in SCALARS:
        return scalar(wanted, data, where)
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return _decode_optional(wanted, data, where)
    if origin is Literal:
        return one_of(get_args(wanted), data, where)
    if origin is tuple:
        return _decode_tuple(get_args(wanted), data, where)
    if origin is dict:
        expect(isinstance(data, dict), "a table", data, where)
        if (item := get_args(wanted)[1]) is Any:
            return dict(data)
        return {key: _decode(item, entry, f"{where}.{key}") for key, entry in data.items()}
    if isinstance(wanted, type) and issubclass(wanted, Plugin):
        return _decode_plugin(wanted, data, where)
    if dataclasses.is_dataclass(wanted):
        expect(isinstance(data, dict), "a table", data, where)
        return _decode_fields(typing.cast(type, wanted), data, where)
    raise TypeError(f"specs have no fields of type {wanted!r}")  # our own impossibility


def _decode_optional(wanted: Any, data: Any, where: str) -> Any:
    inner = [option for option in get_args(wanted) if option is not type(None)]
    if data is None and len(inner) < len(get_args(wanted)):
        return None
    if len(inner) != 1:
        raise TypeError(f"specs have no fields of type {wanted!r}")  # our own impossibility
    return _decode(inner[0], data, where)


def _decode_tuple(items: tuple[Any, ...], data: Any, where: str) -> tuple:
    expect(isinstance(data, (list, tuple)), "a list", data, where)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(data)
    expect(len(items) == len(data), f"{len(items)} entries", data, where)
    return tuple(
        _decode(item, entry, f"{where}[{i}]")
        for i, (item, entry) in enumerate(zip(items, data, strict=True))
    )


def _decode_plugin(wanted: type[Plugin], data: Any, where: str) -> Plugin:
    if isinstance(data, str):
        return _located(lambda: wanted.from_text(data), where)
    expect(isinstance(data, dict) and "name" in data, "a name, or a table with one", data, where)
    fields = dict(data)
    name, version, recorded = (fields.pop(key, None) for key in _IDENTITY)
    expect(isinstance(name, str), "the name of a plug-in", name, where)
    found = _located(lambda: find(wanted.kind, name), where)
    if version is not None and version != found.version:
        raise SpecError(
            f"{where or name}: written for version {version} of {name!r}, but this is version "
            f"{found.version}; its numbers changed in between, so run it again"
        )
    plugin = _decode_fields(found, fields, where or name)
    if recorded is not None and recorded != (present := content(plugin)):
        raise SpecError(
            f"{where or name}: written for content {str(recorded)[:8]} of {name!r}, but this is "
            f"{f'content {present[:8]}' if present else 'a shipped plug-in'}; its source or a file "
            f"that it reads changed in between, so run it again, or load the original by --plugin"
        )
    return plugin


def _decode_fields(wanted: type, data: dict, where: str) -> Any:
    hints, required = _hints(wanted), _required(wanted)
    for key in data:
        if key not in required:
            raise SpecError(f"{at(where)}unknown key {key!r}; {nearest(str(key), required)}")
    for name, needed in required.items():
        if needed and name not in data:
            raise SpecError(f"{at(where)}key {name!r} is missing; it has no default")
    prefix = f"{where}." if where else ""
    values = {key: _decode(hints[key], entry, prefix + key) for key, entry in data.items()}
    return _located(lambda: wanted(**values), where)


@cache
def _hints(wanted: type) -> dict[str, Any]:
    return typing.get_type_hints(wanted)


@cache
def _required(wanted: type) -> dict[str, bool]:
    """The fields that a table may have, and whether it has to."""
    return {
        field.name: field.default is field.default_factory is dataclasses.MISSING
        for field in dataclasses.fields(wanted)
        if field.init
    }


def _located(build: Callable[[], Any], where: str) -> Any:
    """Run a constructor; its own SpecError gets the place in the file in front."""
    try:
        return build()
    except SpecError as error:
        if where:
            error.args = (f"{where}: {error}",)
        raise
