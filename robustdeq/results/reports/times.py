"""Report of what a matrix takes: time and work by entrant, beside one of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median

from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.boards.evidence import Evidence, gather
from robustdeq.results.page import Heading, Page, Table, Text
from robustdeq.results.reports.base import Report
from robustdeq.results.store.files import read_text
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import NONE

YARDSTICK = "adversarial-training/vanilla"


@dataclass(frozen=True)
class _Effort:
    """Means over training seeds.

    Attributes:
        images: how many were attacked.
        minutes: of all required columns of one seed, as their records say.
        work: evaluations of the cell or network, and products with its Jacobian, per image.
        rate: training images per second; None where the store has no log of it.
    """

    entrant: str
    seeds: int
    images: int
    minutes: float
    work: float
    rate: float | None


@dataclass(frozen=True)
class Times(Report):
    """The time that each complete entrant's columns took, and its factor to a yardstick's."""

    def page(self, store: ResultStore, protocol: str) -> Page:
        evidence = gather(store, store.protocol(protocol))
        rates = _rates(store)
        efforts = [_effort(each, rates) for each in evidence if each.complete]
        if not efforts:
            raise StoreError(
                f"{store.root} has no complete entrant of {protocol}; run "
                f"{hint('run', 'PROTOCOL', '--results', store.root)} with its name or TOML file "
                f"first"
            )
        yard = next((each for each in efforts if each.entrant == YARDSTICK), None)
        efforts.sort(key=lambda each: each.work)
        total = sum(each.minutes for each in efforts)
        return Page.of(
            Heading(f"Time that {protocol} takes"),
            Text(
                f"One training seed of all {len(efforts)} complete entrants: {total:.0f} minutes "
                f"of one worker, weights given. Minutes are those of the wall as the records have "
                f"them, so they grow with whatever else the machine did; work does not: it counts "
                f"evaluations of the cell or network and products with its Jacobian, whose sizes "
                f"differ between networks. Means over training seeds; factors are to "
                f"`{YARDSTICK}`."
            ),
            Table.of(efforts, _columns(yard), left=("entrant",)),
        )


def _effort(evidence: Evidence, rates: dict[str, float]) -> _Effort:
    seconds, work, found = [], [], []
    for member in evidence.members:
        records = member.required.values()
        seconds.append(sum(record.provenance.get("seconds", 0.0) for record in records))
        counted = (record.cost.get(name, 0.0) for record in records for name in ("forward", "vjp"))
        work.append(sum(counted))
        if member.checkpoint in rates:
            found.append(rates[member.checkpoint])
    rate = fmean(found) if found else None
    sizes = len(evidence.members), int(evidence.images.sum())
    return _Effort(evidence.entrant, *sizes, fmean(seconds) / 60, fmean(work), rate)


def _rates(store: ResultStore) -> dict[str, float]:
    """Training images per second by checkpoint: the median over the log's looks that tell it."""
    rates = {}
    for path in sorted(store.entrants.glob("*/entrant.json")):
        try:
            facts = json.loads(read_text(path))
            looks = facts["log"]
            seen = [look["images_per_second"] for look in looks if "images_per_second" in look]
            if seen:
                rates[facts["checkpoint"]] = median(seen)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it to train again") from None
    return rates


def _columns(yard: _Effort | None) -> dict[str, Callable[[_Effort], str]]:
    def factor(own: float | None, other: float | None) -> str:
        return f"{own / other:.2f}" if yard and own is not None and other else NONE

    rate = None if yard is None else yard.rate
    return {
        "entrant": lambda effort: effort.entrant,
        "seeds": lambda effort: str(effort.seeds),
        "images": lambda effort: str(effort.images),
        "attacked, minutes": lambda effort: f"{effort.minutes:.1f}",
        "factor": lambda effort: factor(effort.minutes, yard and yard.minutes),
        "work an image": lambda effort: f"{effort.work:.0f}",
        "its factor": lambda effort: factor(effort.work, yard and yard.work),
        "trained, images/s": lambda effort: NONE if effort.rate is None else f"{effort.rate:.0f}",
        "time of an image, factor": lambda effort: factor(rate, effort.rate),
    }
