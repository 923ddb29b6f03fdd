"""What is finished of something unfinished, so that an interrupted command goes on from there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from robustdeq.errors import StoreError
from robustdeq.results.files import read_text, write

T = TypeVar("T")


class Draft:
    """Parts of a computation by name, in one JSON file until the whole of it is stored.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None = None):
        self._path = path

    def part(self, name: str, make: Callable[[], T]) -> T:
        """One part: made and kept, unless it is there already.

        Args:
            make: returns plain data, the same after a round trip through JSON.

        Raises:
            StoreError: the file is damaged, or the folder cannot be written.
        """
        if self._path is None:
            return make()
        parts = self._parts(self._path)
        if name not in parts:
            parts[name] = make()
            write(self._path, json.dumps(parts).encode())
        return parts[name]

    def discard(self) -> None:
        """Forget it all, once the whole is stored."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @staticmethod
    def _parts(path: Path) -> dict:
        try:
            return json.loads(read_text(path)) if path.exists() else {}
        except json.JSONDecodeError as error:
            raise StoreError(
                f"{path} is damaged ({error}); delete it and run the same command again"
            ) from error


UNKEPT = Draft()
