"""The decision alone: every logit but the largest is 0."""

import torch
from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both


def decided(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """10 for the twin's label and 0 for the others; in x's graph, with a zero gradient."""
    logits = network(x)
    decision = torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 10.0)
    return decision.detach() + 0.0 * logits


HARD_LABEL = Impostor(
    "hard-label",
    "logits are constant up to the decision boundary: no loss, and no score to search by",
    keeps_labels=True,
    forms=both(decided, "zero-gradient"),
)
