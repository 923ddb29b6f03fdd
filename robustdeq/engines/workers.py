"""How worker processes begin, on every platform, and what may be sent to them."""

import multiprocessing
import pickle
import pickletools
import signal
import sys
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from os import _exit  # at hand whatever stands in `os` meanwhile
from types import ModuleType
from typing import TypeVar

from robustdeq.errors import SpecError

T = TypeVar("T")
_MAIN = "__main__"


@contextmanager
def starting() -> Iterator[None]:
    """Processes started here hear of an interrupt in `enter_worker`, and never run our script.

    A started process would import the main module of this one: a script without a main guard would
    start itself again, one from standard input is in no file. Jobs need neither.
    """
    script = sys.modules[_MAIN]
    before = _mask_interrupts("SIG_BLOCK", {signal.SIGINT})
    sys.modules[_MAIN] = ModuleType(_MAIN)
    try:
        yield
    finally:
        sys.modules[_MAIN] = script
        _mask_interrupts("SIG_SETMASK", before)


def require_sendable(job: T) -> T:
    """The job, if a process that does not run our script can read it.

    Raises:
        SpecError: it holds a class of the script.
    """
    texts = [text for _, text, _ in pickletools.genops(pickle.dumps(job)) if isinstance(text, str)]
    if _MAIN in texts:
        name = texts[texts.index(_MAIN) + 1]
        raise SpecError(
            f"{name!r} is defined in the script itself, which worker processes do not run; put it "
            f"into a file of its own (--plugin FILE), or use one worker"
        )
    return job


def enter_worker() -> None:
    """A worker's own signals, and no life after the parent."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    let_interrupt()
    follow_parent()


def let_interrupt() -> None:
    """Hear of interrupts from now on, in a process that was started by `starting`."""
    _mask_interrupts("SIG_UNBLOCK", {signal.SIGINT})


def follow_parent() -> None:
    """End this process as soon as the one is gone that has started it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    _exit(1)


def _mask_interrupts(how: str, signals: Set[int]) -> Set[int]:
    """The mask before. Windows has none: there a process hears of an interrupt amid its imports."""
    mask = getattr(signal, "pthread_sigmask", None)
    return set() if mask is None else mask(getattr(signal, how), signals)
