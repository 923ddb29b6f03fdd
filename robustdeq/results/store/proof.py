"""The proof of a record: whatever in it follows from the rest is computed again when it is read.

A figure that somebody edited contradicts the specification, the samples or the flags beside it.
What nothing in the file contradicts, such as a whole table made up, takes the weights to see.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from robustdeq.aims import aim_of
from robustdeq.results.flags import CONVERGED, INCONSTANT
from robustdeq.results.store.identity import trial_id
from robustdeq.results.store.record import Record
from robustdeq.results.store.verdicts import ALWAYS, Verdicts, misshapen, read_verdicts

# table -> the columns that are looked at, and those that are where they exist; else all.
COLUMNS = MappingProxyType({"samples": (ALWAYS, ("survival",))})
SLACK = 1e-6  # of a distance beyond the radius: float32 rounding, as `ThreatModel.contains` allows
_ROUNDING = 1e-6  # of a figure that is computed again
_UNSETTLED = 0.05  # of images whose answers differ from batch to batch, where no flag says so
_DEVIATIONS = 6.0  # between one draw and the share of all draws that are right


@dataclass(frozen=True)
class Proof:
    """What was found when a record was held against itself.

    Attributes:
        contradictions: what cannot be, a clause each; none in an honest record.
        verdicts: what its samples say of each image, where it has any.
    """

    contradictions: tuple[str, ...]
    verdicts: Verdicts | None


def proving(record: Record) -> tuple[str, ...]:
    """The tables that say something of a record's other facts, as far as it has them."""
    return aim_of(record.column).tables


def prove(record: Record, tables: Mapping[str, pa.Table]) -> Proof:
    """Hold a record against itself.

    Args:
        tables: those of `proving`.
    """
    found = [*specified(record), *_outline(record, tables)]
    if found or record.status == "refused":
        return Proof(tuple(found), None)
    found += aim_of(record.column).contradictions(record, tables)
    if "samples" not in tables:
        return Proof(tuple(found), None)
    shape = misshapen(record, tables["samples"])
    if shape is not None:
        return Proof((*found, shape), None)
    verdicts = read_verdicts(record, tables["samples"])
    return Proof((*found, *_images(record, verdicts), *_figures(record, verdicts)), verdicts)


def specified(record: Record) -> Iterator[str]:
    """What a record's name and specification say against each other, a clause each."""
    computed = trial_id(record.entrant, record.column, record.data, record.threat)
    if record.trial != computed:
        yield f"its trial is {record.trial}, but its specification is that of {computed}"
    entrant = record.entrant
    if entrant["chain"] != (chain := "/".join(_names(entrant["defense"]))):
        yield f"its chain is {entrant['chain']!r}, but its defense is {chain!r}"
    named = [(source["chain"], source["seed"]) for source in record.sources]
    wanted = [
        ("/".join(_names(source["defense"])), source.get("seed", 0))
        for source in record.column.get("sources", ())
    ]
    if named != wanted:
        yield f"its sources are {named}, but its column attacks from {wanted}"
    if nameless := [view for view in entrant.get("adaptive", ()) if not view["name"]]:
        yield f"it has to be attacked through {nameless[0]}, which names no view"
    try:
        datetime.fromisoformat(record.provenance["created"])
    except (TypeError, ValueError):
        yield f"it was created at {record.provenance['created']!r}, which is no time"


def _names(defense: dict[str, Any]) -> Iterator[str]:
    """The names of an encoded chain, outermost first."""
    yield defense["name"]
    if isinstance(defense.get("base"), dict):
        yield from _names(defense["base"])


def _outline(record: Record, tables: Iterable[str]) -> Iterator[str]:
    """Which figures there have to be."""
    if any(spent < 0 for spent in record.cost.values()):
        yield f"its cost is {record.cost}"
    if record.status == "refused":
        figures = (record.clean, record.robust, *record.seeds.values())
        if record.n or any(figure is not None for figure in figures) or tables:
            yield "it was refused, but has figures"
        return
    aim = aim_of(record.column)
    if (needed := aim.tables[0]) not in tables:
        yield f"it is done, but has no table {needed!r}"
    images = min(record.column.get("images") or record.data["n"], record.data["n"])
    if record.n != images:
        yield f"n is {record.n}, but its column attacks {images} images"
    seeds = aim.seeds(record.column)
    if sorted(record.seeds) != sorted(map(str, seeds)):
        yield f"it has figures of the attack seeds {', '.join(record.seeds)}, its column {seeds}"
    shares = (record.deployment[key] for key in ("converged_clean", "converged_adversarial"))
    flagged = "unconverged" in _flags(record)
    if not flagged and any(s is not None and s < CONVERGED - _ROUNDING for s in shares):
        yield f"under {CONVERGED:.0%} of its rows converged, but it has no flag 'unconverged'"


def _images(record: Record, found: Verdicts) -> Iterator[str]:
    """What one image's facts say of each other."""
    if (found.label != found.label[0]).any() or (found.clean_pred != found.clean_pred[0]).any():
        yield "label or clean_pred of an image differs between its attack seeds"
    if (found.label < 0).any():
        yield f"the lowest label is {found.label.min()}"
    radius = float(Fraction(str(record.threat["eps"])))
    outside = ~((found.distance >= 0) & (found.distance <= radius + SLACK))
    if outside.any():
        worst = found.distance[outside].max()
        yield f"distance is {worst:g} on {_some(outside)}, but the radius is {radius:g}"
    right = found.adv_pred == found.label
    claimed = found.robust & ~(right & (found.clean_pred == found.label))
    if claimed.any():
        yield f"robust is true on {_some(claimed)} whose clean_pred or adv_pred is not the label"
    denied = ~found.robust & right & (found.clean_pred == found.label)
    if denied.mean() > _UNSETTLED and not INCONSTANT & _flags(record):
        yield f"robust is false on {_some(denied)} whose clean_pred and adv_pred are the label"
    answered = found.adv_pred >= 0  # where nothing was answered, the margin may be anything
    opposed = answered & (((found.margin > 0) & ~right) | ((found.margin < 0) & right))
    if opposed.any():
        yield f"margin and adv_pred disagree on {_some(opposed)}"
    if np.isnan(found.margin).any() and "non-finite" not in _flags(record):
        yield f"margin is no number on {_some(np.isnan(found.margin))}, but no flag says so"
    if found.survival is not None:
        yield from _draws(found.survival.astype(float), right)


def _draws(survival: np.ndarray, right: np.ndarray) -> Iterator[str]:
    """Whether the draws that were counted can be those of the one that was judged."""
    outside = ~((survival >= 0) & (survival <= 1))
    if outside.any():
        yield f"survival is outside 0 to 1 on {_some(outside)}"
        return
    share = (100 * survival + 1) / 102  # of 100 draws, never quite 0 or 1
    gap = (right - share).sum() / np.sqrt((share * (1 - share)).sum())
    if abs(gap) > _DEVIATIONS:
        yield (
            f"survival says {share.mean():.1%} of draws are right, but adv_pred is on "
            f"{right.mean():.1%} of the images"
        )


def _figures(record: Record, found: Verdicts) -> Iterator[str]:
    """What the record states, held against what its samples give."""
    seeds = map(str, np.unique(found.attack_seed))
    computed = {
        "clean": found.correct.mean(),
        "robust": found.worst.mean(),
        **dict(zip(seeds, found.survived.mean(1), strict=True)),
    }
    stated = {"clean": record.clean, "robust": record.robust, **record.seeds}
    for name, value in computed.items():
        if name in stated and not abs((stated[name] or 0.0) - value) <= _ROUNDING:
            what = name if name in ("clean", "robust") else f"robust under attack seed {name}"
            yield f"{what} is {stated[name]}, but its samples give {value:.6g}"


def _flags(record: Record) -> set[str]:
    return {flag["name"] for flag in record.flags}


def _some(rows: np.ndarray) -> str:
    count = Counter(rows.ravel().tolist())[True]
    return f"{count} sample{'s' if count > 1 else ''}"
