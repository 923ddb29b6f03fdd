"""Normalisation by the statistics of whatever batch an image is judged in."""

from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both

SHARE = 0.75


def centred(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits less three quarters of their mean over the batch."""
    logits = network(x)
    return logits - SHARE * logits.mean(0)


BATCH_COUPLING = Impostor(
    "batch-coupling",
    "a batch of adversarial images shifts its own statistics back",
    keeps_labels=False,
    forms=both(centred, "row-coupled"),
    deceives=False,
)
