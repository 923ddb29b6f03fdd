"""Through the inner updates of a defense that optimises its input."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel, Sign
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream, RowNoise
from robustdeq.surrogates.base import Sources, Surrogate, confirmed
from robustdeq.surrogates.defended import inference_surface


@dataclass(frozen=True)
class ThroughDefence(Surrogate):
    """The last inner updates of an inference-time defense, unrolled by its own `unrolled`.

    Such defenses step along the sign of a gradient, whose derivative is zero. Forward it stays a
    sign; backward it is tanh(g / tau), so that small tau follows the gradients near zero, where
    signs flip, and large tau follows all.

    Attributes:
        last: updates to differentiate.
        tau: in the unit of the inner gradient.
    """

    last: int = 3
    tau: Fraction = Fraction(1, 10)

    def __post_init__(self):
        if self.last < 1 or self.tau <= 0:
            raise SpecError(f"last {self.last}, tau {self.tau}; expected at least 1, and above 0")

    def applies(self, target: DefendedModel) -> str | None:
        if target.defense.at_inference.updates:
            return None
        if target.defense.at_inference.acts:
            return (
                f"{target.defense.chain} acts at inference and has no `unrolled`; override it to "
                f"be attacked through it"
            )
        return f"{target.defense.chain} updates no input at inference"

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        sign = soft_sign(float(self.tau))

        def unrolled(target: DefendedModel, x: Tensor, draws: RowNoise) -> Tensor:
            return target.defense.unrolled(target, x, draws, self.last, sign)

        return confirmed(inference_surface(unrolled, target, noise), target, noise)


def soft_sign(tau: float) -> Sign:
    """torch.sign with the derivative of tanh(g / tau)."""

    def sign(g: Tensor) -> Tensor:
        return _SoftSign.apply(g, tau)  # type: ignore[return-value]

    return sign


class _SoftSign(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, tau: float) -> Tensor:
        ctx.save_for_backward(g)
        ctx.tau = tau
        return torch.sign(g)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor):
        (g,) = ctx.saved_tensors
        return gradients[0] * (1 - torch.tanh(g / ctx.tau).square()) / ctx.tau, None
