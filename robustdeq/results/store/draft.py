"""What is finished of something unfinished, so that an interrupted command goes on from there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from robustdeq.errors import StoreError
from robustdeq.results.store.files import read_text, write

T = TypeVar("T")


class Draft:
    """Parts of a computation by name, each made once, until the whole of it is stored.

    Args:
        path: of a JSON file that keeps them; None keeps them in memory alone.
    """

    def __init__(self, path: Path | None = None):
        self._path = path
        self._parts: dict[str, Any] | None = None

    def part(self, name: str, make: Callable[[], T]) -> T:
        """One part: made and kept, unless it is there already.

        Args:
            make: returns plain data, the same after a round trip through JSON; it may ask for other
                parts.

        Raises:
            StoreError: the file is damaged, or the folder cannot be written.
        """
        if self._parts is None:
            self._parts = {} if self._path is None else _read(self._path)
        if name not in self._parts:
            self._parts[name] = make()
            if self._path is not None:
                write(self._path, json.dumps(self._parts).encode())
        return self._parts[name]

    def discard(self) -> None:
        """Forget it all, once the whole is stored."""
        self._parts = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(read_text(path)) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete it and run again the command that made it"
        ) from error
