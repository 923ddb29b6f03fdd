"""Logits so large that the cross-entropy of a right answer is exactly 0."""

from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both

_SCALE = 2.0**17  # a power of two: every product is exact, so no label can change


def scaled_up(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """2^17 times the twin's logits."""
    return _SCALE * network(x)


LOGIT_SATURATION = Impostor(
    "logit-saturation",
    "softmax(z) - e_y is exactly 0 in float32 wherever the answer is right",
    keeps_labels=True,
    forms=both(scaled_up, "logit-scale"),
)
