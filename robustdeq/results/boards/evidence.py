"""What the records of a protocol say, image by image, about every defense in them."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from robustdeq.results.boards.member import Member, member_of
from robustdeq.results.boards.row_names import row_names
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import canonical


@dataclass(frozen=True)
class Evidence:
    """A defense chain with its recipe, over the training seeds that a protocol asks for."""

    entrant: str
    chain: str
    complete: bool
    members: tuple[Member, ...]

    @property
    def spec(self) -> dict[str, Any]:
        """Defense, recipe and what else its newest record says of the entrant."""
        records = [record for member in self.members for record in member.records]
        return max(records, key=lambda record: record.provenance["created"]).entrant

    @property
    def ranks_against(self) -> dict[str, Any] | None:
        """The defense that alone it may be ranked against; None where that is every row."""
        return self.spec.get("control")

    @property
    def checkpoints(self) -> list[str]:
        """The digest of the weights of each training seed."""
        return [member.checkpoint for member in self.members]

    @cached_property
    def images(self) -> Bool[ndarray, " n"]:
        """Which images were judged for every training seed."""
        return np.logical_and.reduce([member.judged for member in self.members])

    def clean(self) -> Float[ndarray, "seeds images"]:
        return np.stack([member.clean for member in self.members])[:, self.images]

    def protocol(self) -> Float[ndarray, "seeds images"]:
        return np.stack([member.protocol for member in self.members])[:, self.images]

    def known(
        self, among: Bool[ndarray, " n"] | None = None, faced: frozenset[str] | None = None
    ) -> Float[ndarray, "seeds images"]:
        """The verdicts behind the lowest known figure, on some of the judged images or on all.

        Args:
            faced: of further attacks these alone, by their canonical specs.
        """
        images = self.images if among is None else among
        return np.stack([member.known(faced) for member in self.members])[:, images]


def side_by_side(a: Evidence, b: Evidence) -> tuple[ndarray, ndarray]:
    """The verdicts (seeds, images) of two rows under the same attacks, on their common images.

    Of attacks beyond the protocol those count that every seed of both has faced, so that no row
    loses to another by being attacked alone; and those through what a row does at inference, of
    which the other one has nothing.
    """
    common = a.images & b.images
    both = frozenset.intersection(
        *(frozenset(member.beyond) for member in (*a.members, *b.members))
    )
    faced = both.union(*(member.derived for member in (*a.members, *b.members)))
    return a.known(common, faced), b.known(common, faced)


def gather(store: ResultStore, protocol: ResolvedProtocol) -> list[Evidence]:
    """The evidence on every defense with at least one judged required column.

    A record belongs to a required column when their specs, the data digest and the threat are
    equal; the earliest one not retracted counts. One on fewer images stands in where there is none
    on all, and then these images alone are judged. Reruns and other columns at the protocol's own
    radius and deployment are further records of the same weights.

    Raises:
        StoreError: a record or table is damaged or contradicts its own samples.
    """
    records = store.scan({"data.digest": protocol.data["digest"], "threat": protocol.threat})
    defenses = defaultdict(list)
    for record in records:
        if record.entrant["seed"] in protocol.training_seeds:
            defenses[_identity(record)].append(record)
    groups = (_members(store, protocol, group) for group in defenses.values())
    gathered = [members for members in groups if members]
    entrants = [members[0].records[0].entrant for members in gathered]
    return [
        Evidence(name, entrant["chain"], _complete(protocol, members), members)
        for members, entrant, name in zip(gathered, entrants, row_names(entrants), strict=True)
    ]


def _complete(protocol: ResolvedProtocol, members: tuple[Member, ...]) -> bool:
    return len(members) == len(protocol.training_seeds) and all(
        member.settled(name) for member in members for name in member.wanted
    )


def _identity(record: Record) -> str:
    """Records of one row have it in common, whatever the training seed."""
    entrant = record.entrant
    return canonical([entrant["defense"], entrant["recipe"], entrant.get("data", "")])


def _members(
    store: ResultStore, protocol: ResolvedProtocol, records: list[Record]
) -> tuple[Member, ...]:
    by_seed = defaultdict(list)
    for record in records:
        by_seed[record.entrant["seed"]].append(record)
    members = (member_of(store, protocol, seed, by_seed[seed]) for seed in sorted(by_seed))
    return tuple(member for member in members if member is not None)
