"""What records and folders are named by: digests of specifications, as plain data.

Nothing here knows a plug-in, so that a reader recomputes every name from the text that it names.
"""

from collections.abc import Mapping
from typing import Any

from robustdeq.spec import plain_digest

_OPTIONAL = ("recipe", "seed", "data")  # left out where they are empty, as every default is


def specification(entrant: Mapping[str, Any]) -> dict[str, Any]:
    """An entrant's encoded specification, from that or from what a record says of the entrant.

    A record says more (the chain, the views to be attacked through), all of which follows from it.
    """
    given = {name: entrant[name] for name in _OPTIONAL if entrant.get(name)}
    return {"defense": entrant["defense"], **given}


def entrant_id(entrant: Mapping[str, Any]) -> str:
    """The name of an entrant's folder, and of its weights if it is trained: 16 hex digits."""
    return plain_digest(specification(entrant))


def trial_id(
    entrant: Mapping[str, Any],
    column: Mapping[str, Any],
    data: Mapping[str, Any],
    threat: Mapping[str, Any],
) -> str:
    """The identity of a trial, 16 hex digits: column, data slice, threat and entrant.

    Args:
        entrant: encoded, or as a record has it; the others encoded.
    """
    return plain_digest(
        {
            "entrant": specification(entrant),
            "column": dict(column),
            "data": dict(data),
            "threat": dict(threat),
        }
    )


def on_data(entrant: Mapping[str, Any], data: str) -> dict[str, Any]:
    """The same entrant, in either form, with the digest of its training data filled in.

    A store from before entrants had it is migrated by this: the old name of a folder or trial is
    that of the old specification, the new name that of the new one.
    """
    return {**entrant, "data": data}
