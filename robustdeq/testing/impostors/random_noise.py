"""Gaussian noise on the input of every prediction."""

from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor, wrapped

SIGMA = 0.25


def noisy(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The twin's logits of x + sigma n, n standard normal."""
    return network(x + SIGMA * noise.child("noise").normal(tuple(x.shape[1:])))


RANDOM_NOISE = Impostor(
    "random-noise",
    "the gradient of one draw is mostly that draw's",
    keeps_labels=False,
    forms=(Form("wrapped", "randomised", wrapped(noisy)),),
    random=True,
    deceives=False,
)
