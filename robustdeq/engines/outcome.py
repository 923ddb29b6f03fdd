"""What came of a job."""

import traceback
from dataclasses import dataclass

from robustdeq.errors import RobustDEQError, by_user, ended
from robustdeq.progress import Display


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        finished: the ids of the entrants for whom it did all it had to, as the job names them.
        failures: (what failed, the reason) of each part that did not.
    """

    finished: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()


def failed(what: str, error: BaseException, display: Display) -> tuple[str, str]:
    """Tell a mistake in one sentence and a defect with its traceback; returns the failure.

    Raises:
        the error itself, where the user ends the program by it.
    """
    if by_user(error):
        raise error
    if not isinstance(error, Exception):
        error = ended(error)
    told = str(error) if isinstance(error, RobustDEQError) else f"\n{traceback.format_exc()}"
    display.say(f"  {what} failed: {told}")
    return what, f"{type(error).__name__}: {error}"
