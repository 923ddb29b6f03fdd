"""The errors a user can cause, each with the exit code its command ends with."""

import difflib
import signal
import traceback
from collections.abc import Iterable


class RobustDEQError(Exception):
    """A mistake or a fact the user can act on: printed as a sentence, never as a traceback."""

    exit_code = 2


class SpecError(RobustDEQError):
    """A value in a configuration, a protocol or an argument is not what it has to be."""


class UnknownName(SpecError):
    """A name that nothing answers to."""

    def __init__(self, what: str, name: str, known: Iterable[str]):
        known = sorted(known)
        super().__init__(f"unknown {what} {name!r}; {nearest(name, known)}")
        self._given = (what, name, known)

    def __reduce__(self):  # a worker sends its errors home pickled
        return UnknownName, self._given


class DataError(RobustDEQError):
    """Images or labels that no model here may be given."""


class CheckpointError(RobustDEQError):
    """Weights that are missing, damaged, or another model's."""


class ContractViolation(RobustDEQError):
    """A plug-in broke the promise of its contract; its result would be worthless."""


class MissingGradient(RobustDEQError):
    """Autograd finds no way from an input to what was asked of it."""


class Unchecked(RobustDEQError):
    """A check could not be made, which says nothing about what was to be checked."""


class StoreError(RobustDEQError):
    """A results folder or a record in it cannot be read or written."""


class AlreadyStored(StoreError):
    """A file that is written once exists: another command was there first."""


class TrialsFailed(RobustDEQError):
    """Some jobs of a run failed; the others are stored."""

    exit_code = 3


class PluginEnded(ContractViolation):
    """A plug-in tried to end the program."""

    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """The user's own Ctrl-C, as against a KeyboardInterrupt that a plug-in raises."""


def by_user(error: BaseException) -> bool:
    """Whether the user asked for the end of the program, and not a plug-in.

    Where Python's own handler answers a Ctrl-C the two look alike, and the user is believed.
    """
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Interrupted) or (own and isinstance(error, KeyboardInterrupt))


def ended(error: BaseException) -> PluginEnded:
    """What to tell of an exception by which a plug-in tried to end the program."""
    lines = traceback.extract_tb(error.__traceback__)
    line = [each for each in lines if "_sitebuiltins" not in each.filename][-1]  # where exit() is
    return PluginEnded(
        f"{type(error).__name__}({str(error)!r}) was raised in {line.filename}, line "
        f"{line.lineno}; a plug-in does not end the program: return an answer, or raise "
        f"an error that says why not"
    )


def unanswered(who: str) -> PluginEnded:
    """What to tell of a process that has ended amid a question; `who` names its plug-ins."""
    return PluginEnded(
        f"the process of {who} ended before its answer; a plug-in does not end the program "
        f"(os._exit), and one that needs more memory than there is has to be run alone"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the closest known one, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}? (known: {', '.join(known)})"
    return f"known: {', '.join(known) or 'none'}"
