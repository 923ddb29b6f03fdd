"""Commands that load somebody else's code run in a process that this one watches.

A plug-in can end its process without a word: through ctypes, by `exec`, or from a thread or a
timer after it has been imported. The watching process never loads it, tells what happened, and
ends with an exit code that is not the plug-in's to choose.
"""

import importlib.metadata
import multiprocessing
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType

from robustdeq.cli import main, parser
from robustdeq.engines.workers import follow_parent, let_interrupt, starting
from robustdeq.errors import PluginEnded

_PASSED_ON = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def entry() -> int:
    """The command `robustdeq` as the shell starts it; returns its exit code."""
    arguments = sys.argv[1:]
    if not foreign(parser().parse_args(arguments)):
        return main(arguments)
    return supervised(arguments)


def foreign(options: Namespace) -> bool:
    """Whether a command may load code that is not the package's own."""
    named = getattr(options, "plugin", None) or ()
    files = [named] if isinstance(named, str) else named
    groups = importlib.metadata.entry_points().groups
    return any(file.endswith(".py") for file in files) or any(
        group.startswith("robustdeq.") for group in groups
    )


def supervised(arguments: Sequence[str]) -> int:
    """Run a command line in a process of its own; returns its exit code, or 3 if it never came."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(sender, tuple(arguments))
    )
    with starting():
        process.start()
    sender.close()
    assert process.pid is not None
    with _passing_on(process.pid) as passed:
        process.join()
    try:
        return int(receiver.recv_bytes())
    except (EOFError, ValueError):
        if process.exitcode in {-number for number in passed}:
            return 128 - process.exitcode
    finally:
        receiver.close()
    print(
        f"robustdeq: the command ended without a word ({_how(process.exitcode)}), in a plug-in or "
        f"for lack of memory; what finished is stored, and the same command goes on from there",
        file=sys.stderr,
    )
    return PluginEnded.exit_code


def _work(sender: Connection, arguments: Sequence[str]) -> None:
    """The watched process: the command, and then its exit code, on its way out."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # the terminal's interrupt comes from the watching process alone
    follow_parent()
    let_interrupt()
    code = main(arguments)
    sender.send_bytes(str(code).encode())


@contextmanager
def _passing_on(pid: int) -> Iterator[list[int]]:
    """Hand signals on to a process and those that it has started; yields what was handed on."""
    passed: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.append(number)
        if not hasattr(os, "killpg"):
            return  # a Windows console tells every process itself
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)  # it has no group of its own yet, or has ended and is not joined

    heard = [each for each in _PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, pass_on) for each in heard}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return f"by the signal {signal.Signals(-exit_code).name}"
