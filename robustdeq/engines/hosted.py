"""What a process does that holds somebody else's models: it answers questions about them.

Nothing of the package that judges or stores anything runs here, so that whatever the models' own
code does to this process, it can only answer wrongly.
"""

import io
import pickle
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.engines.local import load_plugins
from robustdeq.engines.pools import guests
from robustdeq.engines.workers import follow_parent
from robustdeq.errors import RobustDEQError, ended
from robustdeq.evaluation.attempt import Attempt
from robustdeq.evaluation.checks import Finding
from robustdeq.evaluation.trial import Trial
from robustdeq.models.base import Deployment, Prediction
from robustdeq.results.store.result_store import ResultStore
from robustdeq.surface import Cost
from robustdeq.surroundings import own_surroundings
from robustdeq.training.trained import load_model
from robustdeq.untouched import untouched

# The classes of this package that an answer may hold; all else in it is numbers, text and tensors.
ANSWERS = [Attempt, Cost, Counter, Deployment, Finding, Prediction]


@dataclass(frozen=True)
class Stay:
    """What a process needs to build the models of one trial.

    Attributes:
        plugins: lone files.
        trial: pickled; it is read where the plug-ins are loaded.
        device: "cpu" or "cuda".
    """

    plugins: tuple[str, ...]
    trial: bytes
    task: Task
    results: Path
    device: str
    threads: int


@dataclass(frozen=True)
class Handle:
    """A model that another process holds, by its number."""

    number: int


@dataclass
class Session:
    """The models that a process holds, and what may be asked of it."""

    trial: Trial
    stay: Stay
    models: list[DefendedModel] = field(default_factory=list)

    def load(self) -> int:
        """The number of a fresh copy of the entrant."""
        return self._held(self._loaded(self.trial.entrant))

    def source(self, place: int) -> int:
        """The number of a fresh copy of one of the column's sources."""
        return self._held(self._loaded(self.trial.sources[place]))

    def asked(self, model: Handle, question: Callable[..., Any], *arguments: Any) -> Any:
        """What a function says of a model."""
        return question(*map(self._meant, (model, *arguments)))

    def derived(self, model: Handle, change: Callable[..., Any], *arguments: Any) -> int:
        """The number of what a function makes of a model."""
        return self._held(change(*map(self._meant, (model, *arguments))))

    def trial_id(self) -> str:
        """The trial's id, as its plug-ins and their files are now."""
        return self.trial.id

    def _loaded(self, entrant: Any) -> DefendedModel:
        store, device = ResultStore(self.stay.results), torch.device(self.stay.device)
        return load_model(store, entrant, self.stay.task, device)

    def _held(self, model: DefendedModel) -> int:
        self.models.append(model)
        return len(self.models) - 1

    def _meant(self, argument: Any) -> Any:
        if isinstance(argument, tuple):
            return tuple(map(self._meant, argument))
        return self.models[argument.number] if isinstance(argument, Handle) else argument


def serve(connection: Connection, stay: Stay) -> None:
    """Answer until nobody asks any more; the last answer says what the plug-ins have replaced."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks hears of it
    follow_parent()
    torch.set_num_threads(stay.threads)
    try:
        load_plugins(stay.plugins)
        session = Session(pickle.loads(stay.trial), stay)
        with own_surroundings(), untouched(", ".join(sorted(guests(session.trial)))):
            connection.send_bytes(_reply(None))
            while (request := pickle.loads(connection.recv_bytes())) is not None:
                connection.send_bytes(_answer(session, *request))
    except EOFError:
        return  # whoever asked is gone
    except BaseException as error:
        connection.send_bytes(_failure(error))
    else:
        connection.send_bytes(_reply(None))


def _answer(session: Session, verb: str, arguments: tuple[Any, ...]) -> bytes:
    try:
        return _reply(getattr(session, verb)(*arguments))
    except BaseException as error:  # also an exit: whoever asks decides what it means
        return _failure(error)


def _reply(answer: Any) -> bytes:
    message = io.BytesIO()
    torch.save({"answer": answer}, message)
    return message.getvalue()


def _failure(error: BaseException) -> bytes:
    if not isinstance(error, Exception):
        error = ended(error)
    told = isinstance(error, RobustDEQError)
    message = io.BytesIO()
    trace = "" if told else "".join(traceback.format_exception(error))
    torch.save({"error": type(error).__name__, "text": str(error), "trace": trace}, message)
    return message.getvalue()
