"""Jobs on this machine, in worker processes that can be killed at any moment."""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from types import ModuleType

import torch

from robustdeq import registry
from robustdeq.engines.outcome import Outcome
from robustdeq.engines.pools import Hosts, Job
from robustdeq.engines.workers import enter_worker
from robustdeq.errors import SpecError, TrialsFailed
from robustdeq.progress import PLAIN, Display


@dataclass(frozen=True)
class Place:
    """Where jobs are computed.

    Attributes:
        device: "cpu" or "cuda".
        workers: jobs computed at the same time, each in a process of its own; 1 needs none, unless
            there are lone files.
        threads: CPU threads of each worker. One is the default: floating-point sums then do not
            depend on how many cores a machine has, and two jobs beside one another are faster than
            one job on two threads.
        plugins: lone files, loaded by the workers of those jobs that hold their plug-ins.
        display: where jobs show themselves.
    """

    device: str
    workers: int
    threads: int = 1
    plugins: tuple[str, ...] = ()
    display: Display = PLAIN


def place(
    device: str,
    workers: int | None,
    threads: int | None,
    plugins: Sequence[str] = (),
    display: Display = PLAIN,
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
        workers = 1 if device == "cuda" else _cores()
    return Place(device, workers, threads or 1, tuple(plugins), display)


def _cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS pins no process
        return os.cpu_count() or 1


def load_plugins(paths: Sequence[str]) -> list[type]:
    """Load lone files, so that jobs with their plug-ins can be sent to workers that load them, too.

    Raises:
        SpecError, ContractViolation: a file is no plug-in, or hides another.
    """
    loaded = [plugin for path in paths for plugin in registry.load_file(path)]
    found = [registry.find(kind, name) for kind, name in loaded]
    for plugin in found:
        # Pickle reaches a class through its package, which lone files have in name only.
        package = plugin.__module__.rpartition(".")[0]
        sys.modules.setdefault(package, ModuleType(package))
    return found


def run_jobs(
    jobs: Iterable[Job], where: Place, job_done: Callable[[Outcome], Iterable[Job]]
) -> list[Outcome]:
    """Run every job; `job_done` hears of each as soon as it is finished, and says what comes next.

    With one worker and no lone files they are run here, one after another.

    Args:
        job_done: returns further jobs, which are run before those that are waiting.

    Raises:
        DataError, StoreError: no job could succeed.
        TrialsFailed: a worker process was killed.
    """
    waiting, outcomes = deque(jobs), []
    here = where.workers == 1 and not where.plugins
    finished = (_in_turn if here else _beside)(waiting, where)
    with closing(finished):
        for outcome in finished:
            outcomes.append(outcome)
            waiting.extendleft(reversed([*job_done(outcome)]))
    return outcomes


def no_more(outcome: Outcome) -> tuple[Job, ...]:
    """Nothing comes after a job."""
    return ()


def _in_turn(waiting: deque[Job], where: Place) -> Generator[Outcome, None, None]:
    torch.set_num_threads(where.threads)
    while waiting:
        yield waiting.popleft().run(where.display)


def _beside(waiting: deque[Job], where: Place) -> Generator[Outcome, None, None]:
    context = multiprocessing.get_context("spawn")
    lock = context.RLock()
    where.display.enter(lock, 0)

    def started(plugins: tuple[str, ...]) -> ProcessPoolExecutor:
        seats = context.Queue()
        for seat in range(where.workers):
            seats.put(seat)
        arguments = (replace(where, plugins=plugins), lock, seats)
        return ProcessPoolExecutor(where.workers, context, _enter_worker, arguments)

    hosts = Hosts(lambda: started(()), lambda: started(where.plugins), where.workers, where.display)
    try:
        yield from hosts.run(waiting)
    except BaseException as error:
        hosts.stop()  # what is not finished would otherwise be finished first
        if not isinstance(error, BrokenProcessPool):
            raise
        raise TrialsFailed(
            "a worker process was killed, for lack of memory perhaps; what finished is stored, and "
            "the same command goes on, with fewer --workers if need be"
        ) from error
    finally:
        hosts.close()


def _enter_worker(where: Place, lock, seats) -> None:
    """What a worker does before its first job."""
    enter_worker()
    where.display.enter(lock, seats.get())
    torch.set_num_threads(where.threads)
    load_plugins(where.plugins)
