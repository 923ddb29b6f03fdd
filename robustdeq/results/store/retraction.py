"""The withdrawal of a record, with its reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from robustdeq.errors import SpecError, StoreError
from robustdeq.spec import decode, encode

SCHEMA = 1


@dataclass(frozen=True)
class Retraction:
    """A record that no longer counts, the defect that withdrew it, and what replaces it.

    The record itself stays; a board shows its figure in a footnote until a replacement exists.
    """

    schema: int
    stem: str
    reason: str
    replaced_by: str | None

    def __post_init__(self):
        if self.schema != SCHEMA:
            raise SpecError(f"retraction: schema {self.schema}; expected {SCHEMA}")
        if not self.reason.strip():
            raise SpecError(f"retraction of {self.stem}: the reason is empty; name the defect")

    def to_json(self) -> str:
        """JSON text that `from_json` inverts."""
        return json.dumps(encode(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str = "the retraction") -> "Retraction":
        """Read a retraction; `file` names it in messages.

        Raises:
            StoreError: the text is no retraction.
        """
        try:
            return decode(cls, json.loads(text))
        except (json.JSONDecodeError, SpecError) as error:
            raise StoreError(f"{file} is not a whole retraction ({error}); restore it") from error


def contradiction(retractions: Mapping[str, Retraction]) -> str | None:
    """What is wrong with retractions, given by the names of their files, if anything."""
    for name, each in retractions.items():
        if each.stem != name:
            return f"{name}.json is the retraction of {each.stem}"
        passed, replacement = [name], each.replaced_by
        while replacement is not None and replacement in retractions:
            if replacement in passed:
                return f"{' and '.join(passed)} are withdrawn and replace each other in a circle"
            passed.append(replacement)
            replacement = retractions[replacement].replaced_by
    return None
