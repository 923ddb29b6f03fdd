"""The defence's own differentiable stand-in."""

from dataclasses import dataclass

from robustdeq.defenses.base import DefendedModel, overrides
from robustdeq.noise import NoiseStream
from robustdeq.surface import Surface
from robustdeq.surrogates.base import Sources, Surrogate
from robustdeq.surrogates.defended import relaxed_surface


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """`relaxed`: the values of inference, the identity as the derivative of what has none.

    The backward pass differentiable approximation of Athalye, Carlini and Wagner (2018, "Obfuscated
    gradients give a false sense of security", section 4.1), with the adjoint that the network was
    trained with behind it. The gradient is taken at the rewritten input and the defended state.
    """

    def applies(self, target: DefendedModel) -> str | None:
        if any(overrides(target.defense, hook) for hook in ("transform", "infer", "relaxed")):
            return None
        return f"{target.defense.chain} does nothing at inference that a gradient would stop at"

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        return relaxed_surface(target, noise)
