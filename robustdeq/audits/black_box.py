"""Do attacks without gradients break what those with gradients do not?"""

from dataclasses import dataclass

from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.outsiders import against_rerun, first, mostly, remaining, survivors
from robustdeq.evaluation.union import black_box


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
    """

    images: int = 100

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        standing = survivors(case)
        left = mostly(case.once("black box", lambda: remaining(case, black_box(), standing)))
        flag = "black-box-beats-white-box"
        return [against_rerun(case, flag, "black-box attacks", standing & ~left)]
