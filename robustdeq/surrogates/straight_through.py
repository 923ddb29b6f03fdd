"""The defense's own differentiable stand-in."""

from dataclasses import dataclass

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.base import Sources, Surrogate, confirmed
from robustdeq.surrogates.defended import relaxed_surface


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """`relaxed`: the values of inference, the identity as the derivative of what has none.

    The backward pass differentiable approximation of Athalye, Carlini and Wagner (2018, "Obfuscated
    gradients give a false sense of security", section 4.1), with the exact
    gradient of the network behind it, taken at the rewritten input and the defended state.
    """

    def applies(self, target: DefendedModel) -> str | None:
        if target.defense.at_inference.acts:
            return None
        return f"{target.defense.chain} does nothing at inference that a gradient would stop at"

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        return confirmed(relaxed_surface(target, noise), target, noise)
