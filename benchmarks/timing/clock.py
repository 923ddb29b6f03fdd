"""Time on a shared machine: contestants take turns, and only their ratios are kept.

CPU time of one thread is insensitive to the machine's other users and is the headline; wall time on
more threads is what a user waits for. Contestants alternate A B A B, so that a slow minute hits
all of them, and ratios are taken turn by turn.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import NamedTuple, TypeVar

import torch

T = TypeVar("T")


class Lap(NamedTuple):
    """One timed run, in seconds."""

    cpu: float
    wall: float


class Spread(NamedTuple):
    """The median of some figures, and their extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def timed(work: Callable[[], T]) -> tuple[T, Lap]:
    """What the work returns, and how long it took; a GPU is waited for."""
    _synchronise()
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    _synchronise()
    return result, Lap(time.process_time() - cpu, time.perf_counter() - wall)


def headline(lap: Lap, device: torch.device) -> float:
    """The seconds that a table counts: CPU time on a CPU, wall time where a GPU works."""
    return lap.cpu if device.type == "cpu" else lap.wall


def take_turns(
    contestants: Mapping[str, Callable[[int], T]], turns: int, threads: int
) -> dict[str, list[tuple[T, Lap]]]:
    """Every contestant once per turn, called with the turn's number, on `threads` torch threads."""
    results: dict[str, list[tuple[T, Lap]]] = {name: [] for name in contestants}
    with torch_threads(threads):
        for turn in range(turns):
            for name, work in contestants.items():
                results[name].append(timed(partial(work, turn)))
    return results


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times more theirs took, pair by pair."""
    return Spread.of([a / b for a, b in zip(theirs, ours, strict=True)])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch's own threads inside, and as they were afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """One line on the machine and its load now, to stand under every table."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores {platform.machine()}, "
        f"{device}; torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; "
        f"load {load}"
    )


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
