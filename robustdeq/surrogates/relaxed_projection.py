"""Another backward pass for a Lyapunov projection."""

import copy
from dataclasses import dataclass, replace

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.models.lyapunov import Backward, LyapunovProjection
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.base import Sources, Surrogate
from robustdeq.surrogates.defended import Defended


@dataclass(frozen=True)
class RelaxedProjection(Surrogate):
    """The judged function with its projections' derivative replaced (see `LyapunovProjection`).

    A projection deletes the gradient along grad V and bends it where V bends; should that be all
    that keeps an attack away, one that forgets it gets through (Athalye et al. 2018, section 4.1).
    """

    backward: Backward = "identity"

    def applies(self, target: DefendedModel) -> str | None:
        if _projections(target):
            return None
        return f"{target.defense.chain} has no Lyapunov projection"

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        relaxed = replace(target, classifier=copy.deepcopy(target.classifier))
        for projection in _projections(relaxed):
            projection.backward = self.backward
        approach = Defended().bind(relaxed, noise)
        return replace(approach, confirm=Defended().bind(target, noise).confirm)


def _projections(target: DefendedModel) -> list[LyapunovProjection]:
    return [m for m in target.classifier.modules() if isinstance(m, LyapunovProjection)]
