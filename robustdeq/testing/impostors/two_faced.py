"""Two functions: one for whoever asks for gradients, one for the judge."""

import torch
from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both


def two_faced(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits; in the graph those of the mirrored image."""
    return network(x.flip(-1) if torch.is_grad_enabled() else x)


TWO_FACED = Impostor(
    "two-faced",
    "reacts to being differentiated: the function in the graph is not the deployed one",
    keeps_labels=True,
    forms=both(two_faced, "gradient-misaligned"),
)
