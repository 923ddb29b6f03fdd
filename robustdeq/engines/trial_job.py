"""The attack of one trial as a job, wherever its entrant lives."""

from abc import abstractmethod
from dataclasses import dataclass

from robustdeq.data.base import DataSet
from robustdeq.engines.desk import Desk
from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.pools import Job
from robustdeq.engines.training import loaded
from robustdeq.errors import StoreError
from robustdeq.evaluation.protocol import Protocol
from robustdeq.progress import Display


@dataclass(frozen=True)
class TrialJob(Job):
    """A job that runs one trial of a trained entrant and stores its record."""

    protocol: Protocol
    desk: Desk
    device: str

    @property
    def title(self) -> str:
        return self.desk.title

    def run(self, display: Display) -> Outcome:
        """Attack, judge and store.

        Raises:
            DataError, StoreError: no job of any row could succeed.
        """
        data = loaded(self.protocol)  # a failure is everybody's, not this trial's
        try:
            self.attack(data, display)
        except StoreError:
            raise
        except BaseException as error:
            return Outcome((), (failed(self.title, error, display),))
        return Outcome((self.desk.entrant,))

    @abstractmethod
    def attack(self, data: DataSet, display: Display) -> None:
        """Run the trial on the protocol's data and store its record."""
