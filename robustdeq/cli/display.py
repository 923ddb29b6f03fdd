"""How far things are, on a terminal and in a file."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from robustdeq.progress import Display, Progress

_LINE = "ROBUSTDEQ_LINE"  # of this process among those that draw on one terminal


def chosen_display(quiet: bool) -> Display:
    """Bars on a terminal, a line now and then in a file or a pipe; `quiet` shows results alone."""
    if quiet:
        return Display()
    return Bars() if sys.stderr.isatty() else Lines()


@dataclass(frozen=True)
class Bars(Display):
    """A bar for each task, below whatever else is told."""

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    @contextmanager
    def task(self, title: str, unit: str) -> Iterator[Progress]:
        bar: tqdm | None = None

        def tell(done: int, total: int, note: str = "") -> None:
            nonlocal bar
            if bar is None:  # what was done before is no part of its speed
                bar = tqdm(
                    desc=title, unit=unit, initial=done, total=total, leave=False,
                    position=int(os.environ.get(_LINE, "0")),
                )  # fmt: skip
            bar.total = total
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        try:
            yield tell
        finally:
            if bar is not None:
                bar.close()

    def enter(self, lock: Any, line: int) -> None:
        tqdm.set_lock(lock)
        os.environ[_LINE] = str(line)


@dataclass(frozen=True)
class Lines(Display):
    """At most a line in so many seconds for each task, and none of a short one."""

    every: float = 30.0
    clock: Callable[[], float] = time.monotonic

    @contextmanager
    def task(self, title: str, unit: str) -> Iterator[Progress]:
        last, kept = self.clock(), ""

        def tell(done: int, total: int, note: str = "") -> None:
            nonlocal last, kept
            now, kept = self.clock(), note or kept
            if now - last >= self.every:
                last = now
                self.say(f"  {title}: {unit} {done} of {total}{kept and f', {kept}'}")

        yield tell
