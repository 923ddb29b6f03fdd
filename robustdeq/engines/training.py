"""The training of entrants as jobs of their own, without an evaluation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from robustdeq.data.base import DataSet
from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.pools import Job, guests, watched
from robustdeq.entrant import Entrant
from robustdeq.errors import StoreError
from robustdeq.evaluation.protocol import Protocol
from robustdeq.progress import Display
from robustdeq.results.store.result_store import ResultStore
from robustdeq.training.trained import ensure_trained, require_same


@dataclass(frozen=True)
class Training(Job):
    """A job that makes weights on a protocol's data, and can be killed.

    Attributes:
        entrants: those that share their weights, so that no two jobs train one network.
        ids: what they are called where the job was made.
    """

    protocol: Protocol
    entrants: tuple[Entrant, ...]
    ids: tuple[str, ...]
    results: Path
    device: str

    @property
    def title(self) -> str:
        return f"train {self.entrants[0].chain}"

    def run(self, display: Display) -> Outcome:
        """Train, or go on; a finished training is loaded and kept.

        Raises:
            DataError, StoreError: no job on any entrant could succeed.
        """
        data, store = loaded(self.protocol), ResultStore(self.results)
        finished, failures = [], []
        for entrant, name in zip(self.entrants, self.ids, strict=True):
            try:
                require_same(entrant.chain, name, entrant.id)
                task = display.task(f"train {entrant.chain} seed {entrant.seed}", "step")
                with task as advance, watched(self):
                    ensure_trained(store, entrant, data, torch.device(self.device), advance)
            except StoreError:
                raise
            except BaseException as error:
                failures.append(failed(f"train {entrant.chain}", error, display))
            else:
                finished.append(name)
        return Outcome(tuple(finished), tuple(failures))


def trainings(
    entrants: Mapping[str, Entrant], protocol: Protocol, results: Path, device: str
) -> list[Training]:
    """A job for each network to be trained, with all the entrants that it serves.

    Guests have jobs of their own; what they share with others is to be trained before: see `bases`.

    Args:
        entrants: by their ids, as they were when the command began.
    """
    groups: dict[tuple[str, bool], dict[str, Entrant]] = {}
    for name, entrant in entrants.items():
        group = entrant.trained.id, bool(guests(entrant))
        groups.setdefault(group, {})[name] = entrant
    return [
        Training(protocol, tuple(group.values()), tuple(group), results, device)
        for group in groups.values()
    ]


def by_id(entrants: Iterable[Entrant]) -> dict[str, Entrant]:
    """Entrants by their ids, as they are now."""
    return {entrant.id: entrant for entrant in entrants}


def reloaded(protocol: Protocol) -> DataSet:
    """The protocol's data as its files are now; a command begins with it.

    Raises:
        DataError, SpecError: as `Protocol.load_data`.
    """
    loaded.cache_clear()
    return loaded(protocol)


def bases(entrants: Iterable[Entrant]) -> list[Entrant]:
    """The package's own networks that a guest only wraps: none of them trains in its process."""
    return [each.trained for each in entrants if guests(each) and not guests(each.trained)]


@lru_cache(maxsize=1)
def loaded(protocol: Protocol) -> DataSet:
    """The protocol's data, read once by each process.

    Raises:
        DataError, SpecError: as `Protocol.load_data`.
    """
    return protocol.load_data()
