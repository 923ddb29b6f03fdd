"""What has changed since an entrant was trained here under another identity, in a sentence."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from robustdeq.entrant import Entrant
from robustdeq.results.store.files import read_text
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import encode
from robustdeq.training.trained import find_trained

_CONTENT = ("data", "content")  # the keys of a specification that a user does not write


def changes(store: ResultStore, entrants: Iterable[Entrant]) -> Iterator[str]:
    """A sentence for each entrant that is new here only because its data or its code is."""
    older = list(_specifications(store))
    for entrant in entrants:
        spec = encode(entrant)
        alike = [each for each in older if _written(each) == _written(spec)]
        if alike and find_trained(store, entrant) is None:
            kept = entrant.trained != entrant and find_trained(store, entrant.trained) is not None
            then = "attacked anew; its network is kept" if kept else "trained and attacked anew"
            what = " and ".join(_differences(alike[-1], spec))
            yield f"{entrant.chain} seed {entrant.seed}: {what}, so it is {then}"


def _specifications(store: ResultStore) -> Iterator[dict[str, Any]]:
    """Of all whose entry can be read, the newest last; the training tells of a damaged one."""
    for path in sorted(store.entrants.glob("*/entrant.json"), key=lambda p: p.stat().st_mtime_ns):
        try:
            facts = json.loads(read_text(path))
        except json.JSONDecodeError:
            continue
        if isinstance(facts, dict) and isinstance(facts.get("entrant"), dict):
            yield facts["entrant"]


def _written(spec: Any) -> Any:
    """A specification without what its author did not write."""
    if isinstance(spec, dict):
        return {key: _written(value) for key, value in spec.items() if key not in _CONTENT}
    return [_written(item) for item in spec] if isinstance(spec, list) else spec


def _differences(older: dict[str, Any], newer: dict[str, Any]) -> Iterator[str]:
    if older.get("data") != newer.get("data"):
        yield (
            f"its training data are others than it was trained on here (images, labels, classes or "
            f"what is held out; {_short(older.get('data'))}, now {_short(newer.get('data'))})"
        )
    before = dict(_contents(older))
    for name, content in _contents(newer):
        if before.get(name) != content:
            yield (
                f"{name} or a file that it reads has changed (content {_short(before.get(name))}, "
                f"now {_short(content)})"
            )


def _contents(spec: Any) -> Iterator[tuple[str, str | None]]:
    """Each plug-in of a specification by its name, with its content."""
    if isinstance(spec, dict):
        if "name" in spec:
            yield spec["name"], spec.get("content")
        spec = list(spec.values())
    for item in spec if isinstance(spec, list) else ():
        yield from _contents(item)


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "not recorded"
