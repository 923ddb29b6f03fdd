"""Worker processes, apart for jobs that hold somebody else's plug-ins and for those that do not."""

import dataclasses
import multiprocessing
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.workers import require_sendable, starting
from robustdeq.errors import unanswered
from robustdeq.evaluation.column import Column
from robustdeq.homes import LONE
from robustdeq.progress import Display
from robustdeq.registry import Plugin, find, is_guest
from robustdeq.untouched import untouched


class Job(ABC):
    """A training or an attack."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is called in messages."""

    @abstractmethod
    def run(self, display: Display) -> Outcome:
        """Do it, store what comes of it, and show how far it is."""


def guests(value: object) -> set[str]:
    """The names of the plug-ins in a job, or in a part of one, that are not the package's own."""
    return {plugin.plugin_name() for plugin in _guests(value)}


def lone_files(value: object) -> tuple[str, ...]:
    """The lone files that hold these plug-ins, and those that they rely on."""
    found: dict[str, None] = {}
    for plugin in _guests(value):
        relied = (find(kind, name) for kind, name in plugin.relies_on())
        for cls in (*relied, type(plugin)):
            if cls.__module__.startswith(f"{LONE}."):
                found[str(sys.modules[cls.__module__].__file__)] = None
    return tuple(found)


def _guests(value: object) -> Iterator[Plugin]:
    if isinstance(value, Plugin) and is_guest(type(value)):
        yield value
    if isinstance(value, Column):
        yield from _guests(value.aim)
    if dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        parts = list(value.values())
    else:
        parts = value if isinstance(value, (tuple, list)) else ()
    for part in parts:
        yield from _guests(part)


def watched(job: Job) -> AbstractContextManager[None]:
    """What a guest's job runs in: whatever it replaces is put back, and its result not stored."""
    names = guests(job)
    return untouched(", ".join(sorted(names))) if names else nullcontext()


@dataclass
class Pool:
    """Workers of one kind, started when they are needed and anew when one has died."""

    start: Callable[[], ProcessPoolExecutor]
    display: Display
    running: dict[Future[Outcome], Job] = field(default_factory=dict)
    executor: ProcessPoolExecutor | None = None

    def submit(self, job: Job) -> None:
        """Begin a job; where a worker has died unnoticed so far, it is lost with the others."""
        with starting():
            if self.executor is None:
                self.executor = self.start()
            task = partial(require_sendable(job).run, self.display)
            try:
                future = self.executor.submit(task)
                # Makes the pool watch all its workers: it may not know the last one born, whose
                # death would then often go unnoticed (Python 3.11).
                self.executor.submit(int)
            except BrokenProcessPool as error:
                future = Future()
                future.set_exception(error)
            self.running[future] = job

    def abandon(self) -> list[Job]:
        """Give up on workers of which one has died; returns the jobs that are not finished."""
        lost = list(self.running.values())
        self.close(wait=False)
        return lost

    def close(self, wait: bool = True) -> None:
        """Take no more jobs, and wait until the workers have ended.

        A process that is not the first one of its program would otherwise wait for them at its end
        after it has stopped telling them.
        """
        if self.executor is not None:
            self.executor.shutdown(wait, cancel_futures=True)
        self.executor = None
        self.running.clear()


class Hosts:
    """Runs jobs side by side: those with guests in processes that no other job ever enters.

    A worker that dies takes its pool with it. Guests' jobs that were lost so are done once more,
    each alone, so that only the one that ends its process is told to have failed.

    Args:
        own, foreign: start the workers of the package's own jobs, and of those with guests.
        workers: jobs at the same time.
        display: where they show themselves.
    """

    def __init__(
        self,
        own: Callable[[], ProcessPoolExecutor],
        foreign: Callable[[], ProcessPoolExecutor],
        workers: int,
        display: Display,
    ):
        self._own, self._foreign = Pool(own, display), Pool(foreign, display)
        self._workers, self._display = workers, display
        self._suspects: deque[Job] = deque()
        self._others = set(multiprocessing.active_children())

    def run(self, waiting: deque[Job]) -> Iterator[Outcome]:
        """The outcomes, as they come; whoever reads them may add to what is waiting.

        Raises:
            BrokenProcessPool: a worker of the package's own jobs has died.
        """
        while waiting or self._suspects or self._running:
            self._submit(waiting)
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from self._outcome(future)

    @property
    def _running(self) -> dict[Future[Outcome], Job]:
        return self._own.running | self._foreign.running

    def _submit(self, waiting: deque[Job]) -> None:
        while self._suspects and not self._foreign.running:
            self._foreign.submit(self._suspects[0])
        while waiting and len(self._running) < self._workers:
            if not guests(waiting[0]):
                self._own.submit(waiting.popleft())
            elif not self._suspects:
                self._foreign.submit(waiting.popleft())
            else:
                return

    def _outcome(self, future: Future[Outcome]) -> Iterator[Outcome]:
        if future in self._own.running:
            yield future.result()
            del self._own.running[future]
            return
        job = self._foreign.running.get(future)
        if job is None:
            return  # lost with its pool, and waiting to be done once more
        alone = bool(self._suspects)
        try:
            outcome = future.result()
        except BrokenProcessPool:
            lost = self._foreign.abandon()
            if not alone and len(lost) > 1:
                self._suspects.extend(lost)
                return
            gone = unanswered(", ".join(sorted(guests(job))))
            outcome = Outcome((), (failed(job.title, gone, self._display),))
        else:
            del self._foreign.running[future]
        if alone:
            self._suspects.popleft()
        yield outcome

    def stop(self) -> None:
        """End every worker now."""
        for worker in set(multiprocessing.active_children()) - self._others:
            worker.kill()  # a plug-in may ignore what asks it to end

    def close(self) -> None:
        """Let go of the workers."""
        self._own.close()
        self._foreign.close()
