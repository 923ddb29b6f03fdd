"""A process of its own for somebody else's models, as whoever asks it sees it."""

import builtins
import io
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, TypeVar

import torch

from robustdeq import errors
from robustdeq.defenses.base import DefendedModel
from robustdeq.engines.hosted import ANSWERS, Handle, Stay, serve
from robustdeq.engines.workers import starting
from robustdeq.errors import ContractViolation, RobustDEQError, SpecError, unanswered
from robustdeq.evaluation.remote import RemoteModel
from robustdeq.untouched import package_modules

Answer = TypeVar("Answer")
_PATIENCE = 5  # seconds for a process to end by itself


class Host:
    """A process that holds the models of one trial.

    Args:
        who: the names of the plug-ins in it, for messages.

    Raises:
        RobustDEQError: the plug-ins cannot be loaded there.
    """

    def __init__(self, stay: Stay, who: str):
        self._who = who
        self._connection, theirs = multiprocessing.Pipe()
        self._process = _starter().Process(target=serve, args=(theirs, stay), daemon=True)
        with starting():
            self._process.start()
        theirs.close()
        self._receive()

    def load(self) -> "HostedModel":
        """A fresh copy of the entrant."""
        return HostedModel(self, self.do("load"))

    def source(self, place: int) -> "HostedModel":
        """A fresh copy of one of the column's sources."""
        return HostedModel(self, self.do("source", place))

    def do(self, verb: str, *arguments: Any) -> Any:
        """What the process answers.

        Raises:
            PluginEnded: it has ended instead.
            Exception: what was raised there, under the same name.
        """
        self._send((verb, arguments))
        return self._receive()

    def finish(self) -> None:
        """Let the process end.

        Raises:
            ContractViolation: its plug-ins have replaced what is not theirs.
        """
        self._send(None)
        self._receive()

    def close(self) -> None:
        """See that the process is gone."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _send(self, request: Any) -> None:
        try:
            self._connection.send_bytes(pickle.dumps(request))
        except OSError:
            raise unanswered(self._who) from None

    def _receive(self) -> Any:
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise unanswered(self._who) from None
        try:
            with torch.serialization.safe_globals(ANSWERS):
                reply = torch.load(io.BytesIO(message), weights_only=True)
            if "answer" in reply:
                return reply["answer"]
            name, text, trace = reply["error"], reply["text"], reply["trace"]
        except (pickle.UnpicklingError, KeyError, TypeError, RuntimeError) as error:
            raise ContractViolation(
                f"the process of {self._who} sent what is no answer, and it was not read; hooks "
                f"return tensors and plain data"
            ) from error
        raise _raised(name, text, trace)


def _starter() -> SpawnContext | ForkServerContext:
    """What starts processes that have loaded the package and nothing else of this one.

    On Linux a server that has imported it forks them in milliseconds.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(package_modules())
    return context


class HostedModel(RemoteModel):
    """A model that a host holds."""

    def __init__(self, host: Host, number: int):
        self._host, self._handle = host, Handle(number)

    def asked(self, question: Callable[..., Answer], *arguments: Any) -> Answer:
        return self._host.do("asked", self._handle, question, *map(_handles, arguments))

    def derived(self, change: Callable[..., DefendedModel], *arguments: Any) -> "HostedModel":
        number = self._host.do("derived", self._handle, change, *map(_handles, arguments))
        return HostedModel(self._host, number)


@contextmanager
def hosts(stay: Stay, who: str, count: int) -> Iterator[list[Host]]:
    """Processes that hold the models of one trial, gone when the work is done.

    Raises:
        ContractViolation: their plug-ins have replaced what is not theirs.
    """
    opened: list[Host] = []
    try:
        opened += (Host(stay, who) for _ in range(count))
        yield opened
        for host in opened:
            host.finish()
    finally:
        for host in opened:
            host.close()


def _handles(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(map(_handles, argument))
    return argument._handle if isinstance(argument, HostedModel) else argument


class _Elsewhere(Exception):
    """The traceback of another process."""


def _raised(name: str, text: str, trace: str) -> BaseException:
    """An error of another process: a sentence of this package's, or one of Python's own."""
    kind = vars(errors).get(name) or vars(builtins).get(name)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    if issubclass(kind, RobustDEQError):
        return (SpecError if kind.__init__ is not RobustDEQError.__init__ else kind)(text)
    error = kind(text)
    error.__cause__ = _Elsewhere(f"\n{trace}")
    return error
