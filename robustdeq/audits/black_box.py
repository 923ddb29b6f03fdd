"""Do attacks without gradients break what those with gradients do not?"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, broken_by, first, remaining
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.union import black_box

_GLANCE = 16  # the part of the queries that is spent first
_COUNTED = frozenset({"queries", "directions", "restarts"})


@dataclass(frozen=True)
class BlackBox(Audit):
    """A search, differences and labels alone, on the images that withstood the white-box union.

    These are the stages of `black_box`: Square, PGD on finite differences, RayS. Such attacks know
    less, so they may add no more than chance: a clear surplus says that the gradients hide
    something (Athalye, Carlini and Wagner 2018, "Obfuscated gradients give a false sense of
    security"; Carlini et al. 2019, "On evaluating adversarial robustness").

    The value is (b - b0) / n: b counts the images that only they break, b0 those that one more seed
    of the union breaks and they do not. Raised from 1 point on, the smallest difference that is
    read off a board, where the one-sided exact paired test rules chance out. Totals would be blind:
    30 images that only they break vanish beside 120 that only gradients break.

    A sixteenth of the queries is spent first, and all of them only if that broke two images: what
    gradients hide a search finds soon, and the exact test rules nothing out below seven.
    """

    version: ClassVar[int] = 2
    images: int = 100

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        few = tuple(glance(stage) for stage in black_box())
        broken = broken_by(
            case,
            "black box",
            lambda standing: remaining(case, few, standing),
            lambda standing: remaining(case, black_box(), standing),
        )
        flag = "black-box-beats-white-box"
        return [against_rerun(case, flag, "black-box attacks", broken)]


def glance(stage: Stage) -> Stage:
    """The same stage at a sixteenth of its queries, be they of a search or of differences."""
    return dataclasses.replace(
        stage, attack=_in_part(stage.attack), surrogate=_in_part(stage.surrogate)
    )


def _in_part(plugin: Any) -> Any:
    counts = {f.name: getattr(plugin, f.name) for f in dataclasses.fields(plugin)}
    fewer = {name: max(count // _GLANCE, 1) for name, count in counts.items() if name in _COUNTED}
    return dataclasses.replace(plugin, **fewer)
