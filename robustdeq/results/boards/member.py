"""One training seed of a defense: what its records say, image by image."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from robustdeq.aims import aim_of
from robustdeq.results.store.protocol import ResolvedProtocol, covers, may_rank
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import canonical

_DEPLOYED = "defended"  # the view of what is deployed, which a stage has where it names none


@dataclass(frozen=True)
class Member:
    """One training seed of a defense, by its newest weights.

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
        if record.status == "done" or not may_rank(record.column):
            return True
        return record.deployment["solver"] is None and not _any_network(record.column)


def _any_network(column: dict[str, Any]) -> bool:
    """Whether a column attacks the deployed answer alone, which no network can refuse."""
    views = (stage.get("surrogate", {"name": _DEPLOYED}) for stage in column["stages"])
    return all(view["name"] == _DEPLOYED for view in views)


def member_of(
    store: ResultStore, protocol: ResolvedProtocol, seed: int, records: list[Record]
) -> Member | None:
    """What the records of one training seed say; None where they judge no required column.

    Raises:
        StoreError: a record or table is damaged or contradicts its own samples.
    """
    newest = max(records, key=lambda record: record.provenance["created"])
    columns = protocol.required(_views(records, newest.checkpoint))
    belonging = [r for r in records if _ranking(r) and any(covers(r.column, c) for c in columns)]
    if not belonging:
        return None
    checkpoint = max(belonging, key=lambda r: (r.provenance["created"], r.stem)).checkpoint
    present = [record for record in records if record.checkpoint == checkpoint]
    required, further = _sorted_out(columns, present)
    judged = {name: store.verdicts(r) for name, r in required.items() if _ranking(r)}
    survived, n = {}, protocol.data["n"]
    for name, found in judged.items():
        survived[name] = found.over(found.worst, n)
    cut = [survived[name] for name in judged if required[name].column not in columns]
    return Member(
        seed=seed,
        wanted=tuple(column["name"] for column in columns),
        required=required,
        further=further,
        audits=tuple(r for r in present if not aim_of(r.column).staged),
        columns=survived,
        beyond=_beyond(store, further, n),
        derived=frozenset(canonical(record.column) for record in further if _derived(record)),
        clean=_worst(found.over(found.correct, n) for found in judged.values()),
        judged=np.asarray(~np.isnan([_worst(survived.values()), *cut]).any(axis=0)),
        largest=max(found.largest_class for found in judged.values()),
        reweighted=any(record.checkpoint != checkpoint for record in belonging),
    )


def _ranking(record: Record) -> bool:
    """Whether a record has figures that may count for a rank."""
    return record.status == "done" and may_rank(record.column)


def _beyond(store: ResultStore, further: tuple[Record, ...], n: int) -> dict[str, ndarray]:
    """The verdicts of further records, by the canonical spec of their columns."""
    found = defaultdict(list)
    for record in further:
        verdicts = store.verdicts(record)
        found[canonical(record.column)].append(verdicts.over(verdicts.worst, n))
    return {spec: _worst(each) for spec, each in found.items()}


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
        elif _ranking(record):
            further.append(record)
    names = [column["name"] for column in columns]
    in_order = {name: required[name] for name in names if name in required}
    return in_order, tuple(further)


def _worst(verdicts: Iterable[ndarray]) -> ndarray:
    """The per-image minimum; an image that only some columns judged keeps their verdicts."""
    return np.fmin.reduce(list(verdicts))
