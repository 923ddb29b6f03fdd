"""The same weights without what is done at inference."""

from dataclasses import dataclass, replace

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.chains import trained_part
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.base import Sources, Surrogate
from robustdeq.surrogates.defended import Defended


@dataclass(frozen=True)
class Undefended(Surrogate):
    """The chain without its inference defenses, whose inputs are then judged by the whole chain.

    What such inputs break beyond the white-box columns, the defense had only hidden. A
    high-confidence objective (the margin, towards a target) transfers best.
    """

    def applies(self, target: DefendedModel) -> str | None:
        if target.defense.stage == "inference":
            return None
        return f"{target.defense.chain} has no inference defense to remove"

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        approach = Defended().bind(without_inference(target), noise)
        return replace(approach, confirm=Defended().bind(target, noise).confirm)


def without_inference(target: DefendedModel) -> DefendedModel:
    """The same weights without the chain's inference defenses."""
    return replace(target, defense=trained_part(target.defense))
