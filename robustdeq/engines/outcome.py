"""What came of a job, and how it speaks to the user while it runs."""

import os
import sys
import traceback
from dataclasses import dataclass

from tqdm import tqdm

from robustdeq.errors import RobustDEQError, by_user, ended

SEAT = "ROBUSTDEQ_SEAT"  # the number of this worker process, set by the engine


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        finished: the ids of the entrants for whom it did all it had to, as the job names them.
        failures: (what failed, the reason) of each part that did not.
    """

    finished: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()


def failed(what: str, error: BaseException) -> tuple[str, str]:
    """Tell a mistake in one sentence and a defect with its traceback; returns the failure.

    Raises:
        the error itself, where the user ends the program by it.
    """
    if by_user(error):
        raise error
    if not isinstance(error, Exception):
        error = ended(error)
    told = str(error) if isinstance(error, RobustDEQError) else f"\n{traceback.format_exc()}"
    say(f"  {what} failed: {told}")
    return what, f"{type(error).__name__}: {error}"


def say(text: str) -> None:
    """A line for the user, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


def bar_line(progress: bool) -> int | None:
    """The terminal line of this worker's progress bar; None draws none."""
    return int(os.environ.get(SEAT, "0")) if progress else None
