"""A temperature so high that the gradient of any loss underflows."""

from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both

_SCALE = 2.0**100  # a power of two: every product is exact, so no label can change


def scaled_down(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """2^-100 times the twin's logits.

    Ahead of the network x is multiplied by 2^100 and divided by it again. Forward that is exact; on
    the way back 2^-100 meets 2^-100 first, which float32 rounds to zero.
    """
    there_and_back = (x * _SCALE) / _SCALE
    return network(there_and_back) / _SCALE


LOSS_UNDERFLOW = Impostor(
    "loss-underflow",
    "the loss is log C to the last bit, and its gradient falls below 2^-149 on the way back",
    keeps_labels=True,
    forms=both(scaled_down, "logit-scale"),
)
