"""One row of a matrix: an entrant and every column of a protocol, as jobs that can be killed."""

from dataclasses import dataclass
from pathlib import Path

from robustdeq.engines.attacking import Attacking
from robustdeq.engines.desk import Desk
from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.pools import Job, guests
from robustdeq.engines.sealed import rules, seal
from robustdeq.engines.training import loaded
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError
from robustdeq.evaluation.adaptive import derived_columns
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.trial import Trial
from robustdeq.progress import Display
from robustdeq.results.store.result_store import ResultStore
from robustdeq.training.loops.base import check
from robustdeq.training.trained import find_trained


@dataclass(frozen=True)
class Row:
    """An entrant under a protocol: what is in the store of it, and the jobs for what is missing.

    Attributes:
        again: run every trial once more instead of skipping those with a record.
        first: attack only the first so many images of every column; None attacks all.
    """

    protocol: Protocol
    entrant: Entrant
    results: Path
    device: str
    again: bool = False
    first: int | None = None

    def finished(self, images: int) -> bool:
        """Whether every trial has its record, so that nothing is to be run, nor weights needed.

        Args:
            images: how many the protocol's data slice has.
        """
        store = ResultStore(self.results)
        try:
            return find_trained(store, self.entrant) is not None and not self.missing(images)
        except CheckpointError:
            return False  # the training will tell

    def missing(self, images: int) -> list[Trial]:
        """The trials without a record, or all of them `again`; none before it is trained."""
        store, defense = ResultStore(self.results), self.entrant.defense
        trained = find_trained(store, self.entrant)
        if trained is None:
            return []
        derived = derived_columns(self.protocol.adaptive, defense, trained.randomised)
        threat = self.protocol.threat
        trials = [
            Trial(self.entrant, c.on_first(self.first), self.protocol.slice(images), threat)
            for c in (*self.protocol.columns, *derived)
        ]
        return [t for t in trials if self.again or not store.finished(t.id, trained.checkpoint)]

    def check(self, display: Display) -> Outcome:
        """Whether it could be filled at all, told in a sentence if not.

        A guest is asked for its network where it is trained, and not here.

        Raises:
            DataError: the data cannot be read, and no row could be filled.
        """
        data = loaded(self.protocol)
        if guests(self.entrant):
            return Outcome((self.entrant.id,))
        try:
            check(self.entrant, data)
        except BaseException as error:
            return Outcome((), (failed(self.entrant.chain, error, display),))
        return Outcome((self.entrant.id,))

    def attacks(self, images: int) -> list[Job]:
        """A job for each missing trial."""
        return [self._attack(trial) for trial in self.missing(images)]

    def _attack(self, trial: Trial) -> Job:
        desk = Desk(
            self.results, self.entrant.id, trial.id, self.entrant.chain, trial.column.name,
            self.again,
        )  # fmt: skip
        sealable = trial.column.aim.staged and not guests(rules(self.protocol, trial))
        if guests(self.entrant) and sealable:
            return seal(self.protocol, trial, desk, self.device)
        return Attacking(self.protocol, desk, self.device, trial)
