"""Report of how audits ended, and how often one warns."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from robustdeq.aims import aim_of
from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.boards.statistics import upper_bound
from robustdeq.results.flags import in_order
from robustdeq.results.page import Bullets, Heading, Page, Table, Text
from robustdeq.results.reports.audit import verdict
from robustdeq.results.reports.base import Report
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import NONE, per_cent
from robustdeq.spec import canonical


@dataclass(frozen=True)
class Audits(Report):
    """How each audit ended, and with which flags: of weights, whatever protocol they entered."""

    across: ClassVar[bool] = True

    def page(self, store: ResultStore, protocol: str) -> Page:
        newest = _audited(store, protocol)
        if not newest:
            chosen = ["--protocol", "PROTOCOL"] if protocol else []
            command = hint("audit", "ENTRANT", "--results", store.root, *chosen)
            how = f", and the name or TOML file of {protocol}" if protocol else ""
            raise StoreError(f"{store.root} has no such audit; run {command} with a chain{how}")
        return Page.of(
            Heading(f"Audits on {protocol}" if protocol else "Audits"),
            Text(
                "Accuracies in per cent. A flag is raised where two seeds in a row agree on it; "
                "one that blocks a rank makes the verdict suspicious."
            ),
            Table.of(newest, _COLUMNS, left=("entrant", "flags", "verdict")),
            Bullets(tuple(_rates(newest))),
        )


def _audited(store: ResultStore, protocol: str) -> list[Record]:
    """The newest audit of each checkpoint, chain, number of images and attack seed."""
    where: dict[str, Any] = {"status": "done"}
    if protocol:
        resolved = store.protocol(protocol)
        where |= {"data.digest": resolved.data["digest"], "threat": resolved.threat}
    records = [r for r in store.scan(where) if not aim_of(r.column).staged]
    order = sorted(records, key=lambda r: (r.provenance["created"], r.run))
    newest = {(r.trial, r.checkpoint): r for r in order}
    return sorted(
        newest.values(), key=lambda r: (_attack_seed(r), r.entrant["chain"], r.entrant["seed"])
    )


def _attack_seed(record: Record) -> int:
    return record.column["seeds"][0]


def _names(record: Record) -> list[str]:
    return in_order(flag["name"] for flag in record.flags)


_COLUMNS: Mapping[str, Callable[[Record], str]] = MappingProxyType(
    {
        "entrant": lambda r: r.entrant["chain"],
        "training seed": lambda r: str(r.entrant["seed"]),
        "attack seed": lambda r: str(_attack_seed(r)),
        "data": lambda r: r.data["name"],
        "threat": lambda r: f"{r.threat['name']} {r.threat['eps']}",
        "clean": lambda r: per_cent(r.clean),
        "after the union": lambda r: per_cent(r.robust),
        "n": lambda r: str(r.n),
        "flags": lambda r: ", ".join(_names(r)) or NONE,
        "verdict": lambda r: verdict(_names(r)),
    }
)


def _rates(records: list[Record]) -> Iterator[str]:
    """How often a warning comes, by attack seed; weights that were audited twice count once."""
    for seed in sorted({_attack_seed(record) for record in records}):
        trusted: dict[str, bool] = {}
        for record in (each for each in records if _attack_seed(each) == seed):
            of = canonical([record.checkpoint, record.entrant["defense"]])
            fine = verdict(flag["name"] for flag in record.flags) == "trustworthy"
            trusted[of] = trusted.get(of, True) and fine
        warned = sum(not fine for fine in trusted.values())
        bound = per_cent(upper_bound(warned, len(trusted)))
        yield (
            f"Attack seed {seed}: {warned} of {len(trusted)} trained models are not trustworthy, "
            f"so at most {bound} % of such are (one-sided 95 % bound)."
        )
