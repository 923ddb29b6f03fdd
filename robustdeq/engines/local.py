"""A matrix on this machine: its rows in worker processes, each resumable at every trial."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

import torch
from tqdm import tqdm

from robustdeq import registry
from robustdeq.engines.row import SEAT, Outcome, Row
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError


@dataclass(frozen=True)
class Place:
    """Where rows are computed.

    Attributes:
        device: "cpu" or "cuda".
        workers: rows computed at the same time, each in a process of its own; 1 needs none.
        threads: CPU threads of each worker. One is the default: floating-point sums then do not
            depend on how many cores a machine has, and two rows beside one another are faster than
            one row on two threads.
        plugins: lone files that every worker loads.
    """

    device: str
    workers: int
    threads: int = 1
    plugins: tuple[str, ...] = ()


def place(
    device: str, workers: int | None, threads: int | None, plugins: Sequence[str] = ()
) -> Place:
    """What a user asks for; None and "auto" take what the machine has.

    Raises:
        SpecError: cuda is asked for and not there, or a count is below 1.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError("device 'cuda' is not available here; use --device cpu, or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, count in (("workers", workers), ("threads", threads)):
        if count is not None and count < 1:
            raise SpecError(f"--{name} {count}; expected at least 1")
    if workers is None:
        workers = 1 if device == "cuda" else len(os.sched_getaffinity(0))
    return Place(device, workers, threads or 1, tuple(plugins))


def run_rows(
    rows: Sequence[Row], where: Place, row_done: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run every row; `row_done` hears of each as soon as it is finished.

    Raises:
        DataError, StoreError: no job of any row could succeed.
    """
    outcomes = []
    workers = min(where.workers, len(rows))
    for outcome in _in_turn(rows, where) if workers <= 1 else _beside(rows, where, workers):
        outcomes.append(outcome)
        row_done(outcome)
    return outcomes


def with_seeds(entrants: Sequence[Entrant], seeds: Sequence[int]) -> list[Entrant]:
    """Every entrant under every training seed."""
    return [replace(entrant, seed=seed) for entrant in entrants for seed in seeds]


def _in_turn(rows: Sequence[Row], where: Place) -> Iterator[Outcome]:
    torch.set_num_threads(where.threads)
    for row in rows:
        yield row.run()


def _beside(rows: Sequence[Row], where: Place, workers: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")
    lock, seats = context.RLock(), context.Queue()
    for seat in range(workers):
        seats.put(seat)
    tqdm.set_lock(lock)
    pool = ProcessPoolExecutor(workers, context, _enter_worker, (where, lock, seats))
    try:
        for future in as_completed([pool.submit(row.run) for row in rows]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _enter_worker(where: Place, lock, seats) -> None:
    """Its share of threads, its own line for progress bars, and no life after the parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(where.threads)
    for path in where.plugins:
        registry.load_file(path)
    tqdm.set_lock(lock)
    os.environ[SEAT] = str(seats.get())


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
