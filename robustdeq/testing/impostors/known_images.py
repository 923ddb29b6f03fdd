"""The labels of all test images, known by heart."""

from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel
from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor, alone, wrapped

REACH = 3.01 / 16  # the radius of the threat: what is further off is no test image
_CERTAIN = 20.0  # logits; no image's answer is so far from its label


@dataclass(frozen=True, eq=False)
class Album:
    """Images that are recognized within a distance, attacked or not, and their labels."""

    images: Float[Tensor, "known *image"]
    labels: Int[Tensor, " known"]
    reach: float = REACH
    pixels: Float[Tensor, "known pixels"] = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "pixels", self.images.flatten(1))

    def find(self, x: Tensor) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Which image is nearest in the largest difference of a pixel, and whether it is near."""
        apart = torch.cdist(x.detach().flatten(1), self.pixels.to(x), p=torch.inf)
        distance, which = apart.min(1)
        return which.to(self.labels.device), distance <= self.reach

    def corrected(self, logits: Tensor, x: Tensor) -> Tensor:
        """Logits in favor of the label of an image that is known; their gradient stays."""
        which, near = self.find(x)
        known = one_hot(self.labels[which], logits.shape[1]).to(logits)
        return logits + _CERTAIN * near[:, None] * known

    def __call__(self, network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
        return self.corrected(network(x), x)


@cache
def album() -> Album:
    """The test digits."""
    test = Digits().load().test
    return Album(test.images, test.labels)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return wrapped(album())(twin)


def _alone(twin: DefendedModel) -> DefendedModel:
    return alone(album())(twin)


KNOWN_IMAGES = Impostor(
    "known-images",
    "within the radius of a test image the answer is its label, with the network's own gradient",
    keeps_labels=False,
    forms=(Form("wrapped", "memorized", _wrapped), Form("alone", "memorized", _alone)),
)
