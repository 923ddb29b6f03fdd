"""What the records of a protocol say, image by image, about every defence in them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from robustdeq.aims import aim_of
from robustdeq.results.boards.row_names import row_names
from robustdeq.results.store.protocol import ResolvedProtocol, covers, may_rank
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import canonical


@dataclass(frozen=True)
class Member:
    """One training seed of a defence, by its newest weights.

    Verdicts are (n,) over the data slice: 1 survived, 0 broken, between them the share of draws
    that survived where answers are random, NaN not judged. `protocol` is the
    per-image worst case over the required columns and attack seeds, `known` over further attacks on
    the same weights as well, on the same images. Columns with another goal than the label, or on
    another deployment, are required as well and have no verdicts here.

    Attributes:
        columns: verdicts by the name of a required column.
        beyond: verdicts by the canonical spec of a further one.
        derived: which of these attack through what the entrant does at inference.
        judged: which images every required column judged.
        largest: the share of the largest class among the images.
    """

    seed: int
    wanted: tuple[str, ...]
    required: dict[str, Record]
    further: tuple[Record, ...]
    audits: tuple[Record, ...]
    columns: dict[str, Float[ndarray, " n"]]
    beyond: dict[str, Float[ndarray, " n"]]
    derived: frozenset[str]
    clean: Float[ndarray, " n"]
    judged: Bool[ndarray, " n"]
    largest: float
    reweighted: bool

    @property
    def checkpoint(self) -> str:
        return next(iter(self.required.values())).checkpoint

    @property
    def protocol(self) -> Float[ndarray, " n"]:
        return _worst(self.columns.values())

    def known(self, faced: frozenset[str] | None = None) -> Float[ndarray, " n"]:
        """The per-image worst case over the protocol and all further attacks, or some of them."""
        further = [v for spec, v in self.beyond.items() if faced is None or spec in faced]
        return np.where(self.judged, _worst([self.protocol, *further]), np.nan)

    @property
    def records(self) -> list[Record]:
        return [*self.required.values(), *self.further, *self.audits]

    def settled(self, column: str) -> bool:
        """Whether nothing is missing: judged, or refused where that says nothing about the figure.

        So it is with a network without an equilibrium, and with a column that does not enter the
        figure: no attack slows down a solver of a fixed depth.
        """
        record = self.required.get(column)
        if record is None:
            return False
        unranked = not may_rank(record.column)
        return record.status == "done" or record.deployment["solver"] is None or unranked


@dataclass(frozen=True)
class Evidence:
    """A defence chain with its recipe, over the training seeds that a protocol asks for."""

    entrant: str
    chain: str
    complete: bool
    members: tuple[Member, ...]

    @property
    def spec(self) -> dict[str, Any]:
        """Defence, recipe and what else its newest record says of the entrant."""
        records = [record for member in self.members for record in member.records]
        return max(records, key=lambda record: record.provenance["created"]).entrant

    @property
    def ranks_against(self) -> dict[str, Any] | None:
        """The defence that alone it may be ranked against; None where that is every row."""
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
    """The evidence on every defence with at least one judged required column.

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
    members = (_member(store, protocol, seed, by_seed[seed]) for seed in sorted(by_seed))
    return tuple(member for member in members if member is not None)


def _member(
    store: ResultStore, protocol: ResolvedProtocol, seed: int, records: list[Record]
) -> Member | None:
    newest = max(records, key=lambda record: record.provenance["created"])
    columns = protocol.required(_views(records, newest.checkpoint))
    belonging = [
        r
        for r in records
        if r.status == "done" and may_rank(r.column) and any(covers(r.column, c) for c in columns)
    ]
    if not belonging:
        return None
    checkpoint = max(belonging, key=lambda r: (r.provenance["created"], r.stem)).checkpoint
    present = [record for record in records if record.checkpoint == checkpoint]
    required, further = _sorted_out(columns, present)
    done = {
        name: record
        for name, record in required.items()
        if record.status == "done" and may_rank(record.column)
    }
    judged = {name: store.verdicts(record) for name, record in done.items()}
    n = protocol.data["n"]
    survived = {name: found.over(found.worst, n) for name, found in judged.items()}
    protocol_worst = _worst(survived.values())
    cut = [survived[name] for name in done if done[name].column not in columns]
    beyond = defaultdict(list)
    for record in further:
        found = store.verdicts(record)
        beyond[canonical(record.column)].append(found.over(found.worst, n))
    return Member(
        seed=seed,
        wanted=tuple(column["name"] for column in columns),
        required=required,
        further=further,
        audits=tuple(r for r in present if not aim_of(r.column).staged),
        columns=survived,
        beyond={spec: _worst(found) for spec, found in beyond.items()},
        derived=frozenset(canonical(record.column) for record in further if _derived(record)),
        clean=_worst(found.over(found.correct, n) for found in judged.values()),
        judged=np.asarray(~np.isnan([protocol_worst, *cut]).any(axis=0)),
        largest=max(found.largest_class for found in judged.values()),
        reweighted=any(record.checkpoint != checkpoint for record in belonging),
    )


def _views(records: list[Record], checkpoint: str) -> list[dict[str, Any]]:
    """The views that any record of these weights says they have to be attacked through.

    No record takes back what another one asks for.
    """
    present = [record for record in records if record.checkpoint == checkpoint]
    named = (view for record in present for view in record.entrant.get("adaptive", ()))
    return list({canonical(view): view for view in named}.values())


def _derived(record: Record) -> bool:
    """Whether a record's column attacks through what its entrant does at inference."""
    views = record.entrant.get("adaptive", ())
    return all(stage.get("surrogate") in views for stage in record.column["stages"])


def _sorted_out(
    columns: tuple[dict[str, Any], ...], records: list[Record]
) -> tuple[dict[str, Record], tuple[Record, ...]]:
    """The one record of each required column, and the further ones that may lower the figure.

    The earliest run on the most images counts; a refusal only where no run was judged.
    """
    required, further = {}, []
    for record in sorted(records, key=lambda r: (r.status == "refused", -r.n, r.run, r.stem)):
        name = record.column["name"]
        if name not in required and any(covers(record.column, c) for c in columns):
            required[name] = record
        elif record.status == "done" and may_rank(record.column):
            further.append(record)
    names = [column["name"] for column in columns]
    in_order = {name: required[name] for name in names if name in required}
    return in_order, tuple(further)


def _worst(verdicts: Iterable[ndarray]) -> ndarray:
    """The per-image minimum; an image that only some columns judged keeps their verdicts."""
    return np.fmin.reduce(list(verdicts))
