"""What a long computation tells of how far it is, and what shows it to the user."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Hears how far a computation is, as often as it likes to tell."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def unseen(done: int, total: int, note: str = "") -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Display:
    """Shows the user what comes of jobs, and nothing of how far they are.

    It travels to worker processes, and shows there what runs there.
    """

    def say(self, text: str) -> None:
        """Show a line, or several."""
        print(text, file=sys.stderr, flush=True)

    def task(self, title: str, unit: str) -> AbstractContextManager[Progress]:
        """Show how far something is while it lasts.

        Args:
            unit: what is counted, in the singular.
        """
        return _unwatched()

    def enter(self, lock: Any, line: int) -> None:
        """Called once in each process whose tasks run beside those of others.

        Args:
            lock: to be held while drawing; shared by these processes.
            line: the number of this process, from 0.
        """
        return None


@contextmanager
def _unwatched() -> Iterator[Progress]:
    yield unseen


PLAIN = Display()
