"""The attack of one trial as a job that never loads the entrant's code: it asks other processes.

One process holds the copies that are attacked, and learns what an attacker knows: images, labels,
candidates. Another one holds the copies that judge and that searches ask: it is sent pixels and
secret words alone, and cannot tell a judge's question from a search's. Attacks that need nothing
but answers, the judge and the record are here.
"""

import pickle
from dataclasses import dataclass, replace
from functools import partial

import torch

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.engines.desk import Desk
from robustdeq.engines.host import Host, hosts
from robustdeq.engines.hosted import Stay
from robustdeq.engines.pools import guests, lone_files
from robustdeq.engines.trial_job import TrialJob
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError
from robustdeq.evaluation.bench import Setting, fresh_salt
from robustdeq.evaluation.described import Described, described
from robustdeq.evaluation.evaluate import evaluated
from robustdeq.evaluation.outcome import Copies
from robustdeq.evaluation.protocol import Protocol
from robustdeq.evaluation.remote import ask
from robustdeq.evaluation.trial import Trial
from robustdeq.progress import Display
from robustdeq.training.trained import Trained, find_trained, require_digest, require_same


@dataclass(frozen=True)
class Sealed(TrialJob):
    """A job that runs its trial on somebody else's models, which it asks elsewhere.

    Attributes:
        who: the names of the plug-ins that are loaded elsewhere, for messages.
        data: the digest of what the entrant is trained on.
        pickled: the trial, for the processes that load its plug-ins from the lone `files`.
    """

    trial: Described
    trained: Trained
    who: str
    data: str
    pickled: bytes
    files: tuple[str, ...]

    def attack(self, data: DataSet, display: Display) -> None:
        desk, checkpoint = self.desk, self.trained.checkpoint
        require_digest(desk.chain, self.data, data)
        stay = Stay(
            self.files, self.pickled, Task(data.shape, data.classes), desk.results, self.device,
            torch.get_num_threads(),
        )  # fmt: skip
        salt = desk.draft(checkpoint).part("salt", fresh_salt)
        run = desk.store.next_run(desk.trial, checkpoint)
        with (
            display.task(desk.task, "image") as advance,
            hosts(stay, self.who, 2) as (attacked, judged),
        ):
            self._require_same(attacked)
            device = torch.device(self.device)
            chunk = chunk_size(ask(attacked.load(), numbers), device)
            drawn = self.trained.randomised
            setting = Setting(checkpoint, device, chunk, run, drawn, salt)
            sources = [
                partial(attacked.source, place) for place, _ in enumerate(self.trial.sources)
            ]
            copies = Copies(attacked.load, lambda: tuple(s() for s in sources), judged.load)
            record, tables = evaluated(self.trial, copies, setting, data.test, advance)
            self._require_same(attacked)
        desk.keep(record, tables, display)

    def _require_same(self, host: Host) -> None:
        require_same(self.desk.chain, self.desk.trial, host.do("trial_id"))


def numbers(target: DefendedModel) -> int:
    """How many numbers the state of one image has."""
    return state_size(target.classifier)


def rules(protocol: Protocol, trial: Trial) -> Protocol:
    """What a trial needs of its protocol: the whole where it is the package's own."""
    if not guests(protocol):
        return protocol
    return replace(protocol, columns=(trial.column,), adaptive=None)


def seal(protocol: Protocol, trial: Trial, desk: Desk, device: str) -> Sealed:
    """The attack of a trial as a job that does not hold its entrant.

    Raises:
        CheckpointError: the entrant, or a source of the column, is not trained.
    """

    def trained(entrant: Entrant) -> Trained:
        found = find_trained(desk.store, entrant)
        if found is None:
            raise CheckpointError(
                f"{entrant.chain} seed {entrant.seed} is not trained in {desk.results}; the same "
                f"command trains it first"
            )
        return found

    return Sealed(
        rules(protocol, trial),
        desk,
        device,
        described(trial, lambda source: trained(source).checkpoint),
        trained(trial.entrant),
        ", ".join(sorted(guests(trial))),
        trial.entrant.data,
        pickle.dumps(trial),
        lone_files(trial),
    )
