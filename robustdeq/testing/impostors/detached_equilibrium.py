"""An equilibrium that is solved outside autograd, as an evaluation mode may do."""

from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Impostor, both


def detached(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits, cut off from x."""
    return network(x).detach()


DETACHED_EQUILIBRIUM = Impostor(
    "detached-equilibrium",
    "z* leaves autograd's graph, so the input has no gradient at all",
    keeps_labels=True,
    forms=both(detached, "missing-gradient"),
)
