"""Names of a board's rows, which tell entrants of one chain apart."""

from collections import Counter
from typing import Any


def row_names(entrants: list[dict[str, Any]]) -> list[str]:
    """The chain of each encoded entrant, and what tells it from others of the same chain."""
    settings = [set(_flat(entrant)) for entrant in entrants]
    names = []
    for entrant, own in zip(entrants, settings, strict=True):
        namesakes = [
            other
            for peer, other in zip(entrants, settings, strict=True)
            if peer["chain"] == entrant["chain"]
        ]
        particular = _named(dict(own - set.intersection(*namesakes)))
        suffix = f" [{', '.join(particular)}]" if particular else ""
        names.append(entrant["chain"] + suffix)
    return names


def _named(settings: dict[str, Any]) -> list[str]:
    """Each setting as "key=value", by the last word of its path where that says which it is.

    A plug-in goes by the field that holds it, "solver=picard", and its version with its name.
    """
    told = {
        path.removesuffix(".name"): value
        for path, value in settings.items()
        if not path.endswith(".version") or f"{path.removesuffix('version')}name" not in settings
    }
    words = {path: path.rpartition(".")[2] for path in told}
    times = Counter(words.values())
    return sorted(f"{w if times[w] == 1 else path}={told[path]}" for path, w in words.items())


def _flat(entrant: dict[str, Any]) -> list[tuple[str, str]]:
    """Every setting of an entrant with its path."""
    data = _leaves(entrant["data"], "data.") if entrant.get("data") else []
    return [*_leaves(entrant["recipe"], ""), *_leaves(entrant["defense"], "defense."), *data]


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], f"{path}{key}.")]
    text = str(value)[:8] if path.endswith(("data.", "content.")) else str(value)
    return [(path.rstrip("."), text)]
