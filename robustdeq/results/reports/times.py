"""Report of what a matrix takes: time and work by entrant, beside one of them."""

import json
from dataclasses import dataclass
from statistics import fmean, median

from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.boards.evidence import Evidence, gather
from robustdeq.results.formats.markdown import NONE, table
from robustdeq.results.store.files import read_text
from robustdeq.results.store.result_store import ResultStore

YARDSTICK = "adversarial-training/vanilla"
_HEADER = (
    "entrant", "seeds", "images", "attacked, minutes", "factor", "work an image", "its factor",
    "trained, images/s", "time of an image, factor",
)  # fmt: skip


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


def times(store: ResultStore, protocol: str) -> str:
    """The time that each complete entrant's columns took, and its factor to a yardstick's.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: it has no complete entrant, or a record or an entrant's log is damaged.
    """
    evidence = gather(store, store.protocol(protocol))
    rates = _rates(store)
    efforts = [_effort(each, rates) for each in evidence if each.complete]
    if not efforts:
        raise StoreError(
            f"{store.root} has no complete entrant of {protocol}; run "
            f"{hint('run', 'PROTOCOL', '--results', store.root)} with its name or TOML file first"
        )
    yard = next((each for each in efforts if each.entrant == YARDSTICK), None)
    efforts.sort(key=lambda each: each.work)
    total = sum(each.minutes for each in efforts)
    return (
        f"# Time that {protocol} takes\n\n"
        f"One training seed of all {len(efforts)} complete entrants: {total:.0f} minutes of one "
        f"worker, weights given. Minutes are those of the wall as the records have them, so they "
        f"grow with whatever else the machine did; work does not: it counts evaluations of the "
        f"cell or network and products with its Jacobian, whose sizes differ between networks. "
        f"Means over training seeds; factors are to `{YARDSTICK}`.\n\n"
        + table(_HEADER, [_line(each, yard) for each in efforts], left=("entrant",))
        + "\n"
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


def _line(effort: _Effort, yard: _Effort | None) -> list[str]:
    def factor(own: float | None, other: float | None) -> str:
        return f"{own / other:.2f}" if yard and own is not None and other else NONE

    rate = None if yard is None else yard.rate
    return [
        effort.entrant, str(effort.seeds), str(effort.images), f"{effort.minutes:.1f}",
        factor(effort.minutes, yard and yard.minutes),
        f"{effort.work:.0f}", factor(effort.work, yard and yard.work),
        NONE if effort.rate is None else f"{effort.rate:.0f}", factor(rate, effort.rate),
    ]  # fmt: skip
