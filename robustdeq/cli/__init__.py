"""The command `robustdeq`: one module per subcommand, imported when it is asked for."""

import argparse
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from robustdeq.cli import audit, board, check, listing, migrate, report, run, train
from robustdeq.errors import Interrupted, RobustDEQError, by_user, ended
from robustdeq.importing import outliving
from robustdeq.version import __version__

_COMMANDS = (run, train, board, report, audit, check, listing, migrate)


def parser() -> argparse.ArgumentParser:
    """Of every command line."""
    parser = argparse.ArgumentParser(
        prog="robustdeq",
        description="The adversarial-robustness benchmark for deep equilibrium models.",
        epilog="Start with `robustdeq run`: it trains, attacks and ranks four models on digits.",
    )
    parser.add_argument("--version", action="version", version=f"robustdeq {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code.

    0: done. 2: a mistake of the user's, told in one sentence. 3: some jobs failed, or a plug-in
    tried to end the program; the others are stored. 1: a defect of ours, with its traceback. 130:
    interrupted; what finished is stored.
    """
    _tolerate_narrow_consoles()
    options = parser().parse_args(arguments)
    with _own_interrupts(), outliving():
        try:
            code = options.command(options)
            sys.stdout.flush()
            return code
        except BaseException as error:
            return _told(error)


def _told(error: BaseException) -> int:
    """Say what ended a command, after what it had printed; returns the exit code."""
    if not isinstance(error, BrokenPipeError):
        sys.stdout.flush()
    if by_user(error):
        print("\nrobustdeq: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        # The reader has seen enough, `| head` for example; nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not isinstance(error, Exception):
        error = ended(error)
    if isinstance(error, RobustDEQError):
        print(f"robustdeq: {error}", file=sys.stderr)
        return error.exit_code
    traceback.print_exception(error)
    print(
        "robustdeq: this is a defect, of a plug-in if the traceback ends in its file, else of "
        "robustdeq; please report it",
        file=sys.stderr,
    )
    return 1


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Tell a Ctrl-C from a KeyboardInterrupt that a plug-in raises."""
    before = signal.getsignal(signal.SIGINT)
    if (
        before is not signal.default_int_handler
        or threading.current_thread() is not threading.main_thread()
    ):
        yield  # somebody else answers it
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def _tolerate_narrow_consoles() -> None:
    """Escape what the console's encoding lacks, in a note or a name, instead of ending amid it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
