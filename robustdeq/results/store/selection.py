"""Which records a reader asks for."""

from collections.abc import Mapping
from typing import Any

from robustdeq.errors import UnknownName
from robustdeq.results.store.record import Record


def matches(record: Record, where: Mapping[str, Any]) -> bool:
    """Whether a record's fields equal these, by their dotted paths.

    Raises:
        UnknownName: records have no such field.
    """
    return all(_field(record, key) == value for key, value in where.items())


def _field(record: Record, key: str) -> Any:
    """A field by its dotted path; None where the table has no such key."""
    name, *inner = key.split(".")
    if name not in Record.__dataclass_fields__:
        raise UnknownName("field of a record", name, Record.__dataclass_fields__)
    value = getattr(record, name)
    for part in inner:
        value = value.get(part) if isinstance(value, dict) else None
    return value
