"""Distance from a reference prediction."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import log_softmax

from robustdeq.errors import SpecError
from robustdeq.objectives.base import Objective, View


@dataclass(frozen=True)
class Divergence(Objective):
    """KL(p(ref) || p(x)) in nats, with p the softmax of logits (Zhang et al. 2019, equation 5).

    `target` holds the (B, C) reference logits; the label is not read. A class that the reference
    rules out (minus infinity) adds nothing.
    """

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        if target is None or target.shape != view.logits.shape:
            raise SpecError("divergence needs reference logits of shape (B, C) as its target")
        reference = log_softmax(target.detach(), dim=1)
        p, nats = reference.exp(), reference - log_softmax(view.logits, dim=1)
        return (p * nats.where(p > 0, 0.0)).sum(1)
