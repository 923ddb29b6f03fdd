"""A protocol as the store keeps it: resolved, so that boards need no plug-in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robustdeq.aims import aim_of
from robustdeq.errors import SpecError, StoreError
from robustdeq.spec import decode, encode

SCHEMA = 1


def may_rank(column: dict[str, Any]) -> bool:
    """Only figures of a goal that ranks, of the model as deployed, may count."""
    return aim_of(column).ranks and column.get("deployment", "own") == "own"


def covers(column: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a column is the wanted one, on all of its images or on the first few of them."""
    if column == wanted:
        return True
    n, most = column.get("images"), wanted.get("images")
    fewer = n is not None and (most is None or n < most)
    return fewer and {**column, "images": most} == {"images": most, **wanted}


def places(order: str, images: int | None, there: int) -> list[int]:
    """Where in a slice the images lie that a column attacks, in their order; None attacks all.

    In the order "file" they are the first ones. "shuffled" are those whose place has the smallest
    BLAKE2b digest (of its eight bytes, big end first), whatever the files are sorted by.
    """
    every = range(there)
    if order == "shuffled":
        return sorted(every, key=lambda i: hashlib.blake2b(i.to_bytes(8)).digest())[:images]
    return list(every)[:images]


def view_label(view: dict[str, Any]) -> str:
    """An encoded view with the fields that are not its defaults: "intermediate state 4"."""
    fields = [f"{key} {view[key]}" for key in view if key not in ("name", "version", "content")]
    return " ".join([view["name"], *fields])


def first_difference(a: Any, b: Any, where: str = "") -> tuple[str, str, str]:
    """Where two different specs differ first, as "columns[1].stages[0].attack.content", and how."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(a, dict) and isinstance(b, dict):
        keys = dict.fromkeys([*a, *b])
        pairs = [(f"{where}.{key}".lstrip("."), a.get(key), b.get(key)) for key in keys]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(a, b, strict=True))]
    for place, one, other in pairs:
        if one != other:
            return first_difference(one, other, place)
    return where, "absent" if a is None else repr(a), "absent" if b is None else repr(b)


def derived_column(template: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """The template's stages on one view, named after both; all of them encoded specs."""
    return {
        **template,
        "name": f"{template['name']}: {view_label(view)}",
        "stages": [{**stage, "surrogate": view} for stage in template["stages"]],
    }


@dataclass(frozen=True)
class ResolvedProtocol:
    """The required columns on one data slice and threat, as encoded specs.

    `note` is printed above every board; `adaptive` is the template of derived columns, if any.
    """

    name: str
    data: dict[str, Any]
    threat: dict[str, Any]
    training_seeds: tuple[int, ...]
    columns: tuple[dict[str, Any], ...]
    note: str = ""
    adaptive: dict[str, Any] | None = None

    def __post_init__(self):
        for key in ("name", "digest", "n"):
            if key not in self.data:
                raise SpecError(f"protocol {self.name}: data {self.data} lacks {key!r}")
        names = self.column_names
        if not names or len(set(names)) < len(names):
            raise SpecError(
                f"protocol {self.name}: columns {names}; expected at least one, named apart"
            )
        if not self.training_seeds:
            raise SpecError(f"protocol {self.name}: no training seeds; expected at least one")

    def required(self, views: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """The columns of an entrant that has to be attacked through these views as well."""
        if self.adaptive is None:
            return self.columns
        return (*self.columns, *(derived_column(self.adaptive, view) for view in views))

    @property
    def column_names(self) -> list[str]:
        return [column["name"] for column in self.columns]

    @property
    def ranking_names(self) -> list[str]:
        """The columns whose verdicts make the figure."""
        return [column["name"] for column in self.columns if may_rank(column)]

    def to_json(self) -> str:
        """JSON text that `from_json` inverts."""
        return json.dumps({"schema": SCHEMA, **encode(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str = "the protocol") -> "ResolvedProtocol":
        """Read a resolved protocol; `file` names it in messages.

        Raises:
            StoreError: the text is no protocol of this schema.
        """
        try:
            content = json.loads(text)
            schema = content.pop("schema", None) if isinstance(content, dict) else None
            if schema != SCHEMA:
                raise SpecError(f"schema {schema}; expected {SCHEMA}")
            return decode(cls, content)
        except (json.JSONDecodeError, SpecError) as error:
            raise StoreError(
                f"{file} is not a whole protocol ({error}); "
                "restore it, or delete it and run again the command that made it"
            ) from error
