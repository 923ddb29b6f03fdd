"""The stored outcome of one trial on one checkpoint."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from robustdeq.errors import SpecError, StoreError
from robustdeq.results.flags import find_flag
from robustdeq.spec import decode, encode

SCHEMA = 2


@dataclass(frozen=True)
class Record:
    """What one entrant kept against one column, with the provenance to repeat it.

    `clean` and `robust` are accuracies on the column's `n` images; `robust` is the per-image worst
    case over the attack seeds and `seeds` has the figure of each. Both are None for a refused
    column, whose `reason` says why. `cost` counts work per image; seconds belong to `provenance`.
    `salt` keyed what the entrant drew and the order in which it was asked: with it the trial is
    repeated. Records made before there were salts have none.

    `entrant`, `column`, `data`, `threat` and `sources` are specs as `robustdeq.spec.encode`
    writes them, so that boards are computed without importing a single plug-in.

    Raises:
        SpecError: a field is not what the schema says.
    """

    schema: int
    semantics: int
    trial: str
    checkpoint: str
    run: int
    status: Literal["done", "refused"]
    reason: str | None
    entrant: dict[str, Any]
    column: dict[str, Any]
    data: dict[str, Any]
    threat: dict[str, Any]
    sources: tuple[Any, ...]
    n: int
    clean: float | None
    robust: float | None
    seeds: dict[str, float]
    flags: tuple[dict[str, str], ...]
    cost: dict[str, float]
    deployment: dict[str, Any]
    provenance: dict[str, Any]
    salt: str = ""

    def __post_init__(self):
        _expect(self.schema == SCHEMA, "schema", self.schema, f"{SCHEMA}; upgrade robustdeq")
        _expect(_is_hex(self.trial, 16), "trial", self.trial, "16 hex digits")
        _expect(_is_hex(self.checkpoint, 64), "checkpoint", self.checkpoint, "64 hex digits")
        _expect(self.run >= 0, "run", self.run, "0 or more")
        _expect(self.salt == "" or _is_hex(self.salt, 32), "salt", self.salt, "32 hex digits")
        _has("entrant", self.entrant, ("chain", "defense", "recipe", "seed"))
        _has("column", self.column, ("name", "stages", "seeds"))
        _has("data", self.data, ("name", "digest", "n"))
        _has("threat", self.threat, ("name", "eps"))
        _has("deployment", self.deployment, DEPLOYMENT)
        _has("provenance", self.provenance, ("created",))
        for flag in self.flags:
            _has("flag", flag, ("name", "detail"))
            find_flag(flag["name"])
        if self.status == "refused":
            _expect(bool(self.reason), "reason", self.reason, "why the column was refused")
            return
        _expect(0 < self.n <= self.data["n"], "n", self.n, f"1 to {self.data['n']} images")
        for name, value in (("clean", self.clean), ("robust", self.robust), *self.seeds.items()):
            inside = value is not None and 0.0 <= value <= 1.0
            _expect(inside, f"accuracy {name!r}", value, "a fraction in [0, 1]")

    @property
    def stem(self) -> str:
        """The name of its files: trial, weights, run."""
        return f"{self.trial}-{self.checkpoint[:8]}-{self.run}"

    def to_json(self) -> str:
        """JSON text that `from_json` inverts."""
        return json.dumps(encode(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str = "the record") -> "Record":
        """Read a record; `file` names it in messages.

        Raises:
            StoreError: the text is cut off, no JSON, or no record of this schema.
        """
        try:
            return decode(cls, json.loads(text))
        except (json.JSONDecodeError, SpecError) as error:
            raise StoreError(
                f"{file} is not a whole record ({error}); restore it, or delete it and run again "
                f"the command that made it"
            ) from error


# What every record says about the deployed solver; all None for networks without an equilibrium.
DEPLOYMENT = ("solver", "tolerance", "budget", "converged_clean", "converged_adversarial")


def _is_hex(text: str, digits: int) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{digits}}}", text) is not None


def _expect(holds: bool, what: str, value: Any, wanted: str) -> None:
    if not holds:
        raise SpecError(f"record: {what} is {value!r}; expected {wanted}")


def _has(what: str, table: Mapping[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in table]
    if missing:
        raise SpecError(f"record: {what} {dict(table)} lacks {', '.join(missing)}")
