"""A solver that stops every image after a random number of steps."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor, wrapped

DEEPEST = 6


def logits_by_depth(
    network: EquilibriumNetwork, x: Tensor
) -> Float[Tensor, "depths batch classes"]:
    """The read-outs after 1 .. DEEPEST Picard steps."""
    problem = network.problem(x)
    z, answers = problem.z0, []
    for _ in range(DEEPEST):
        z = problem(z)
        answers.append(network.readout(z))
    return torch.stack(answers)


def randomly_deep(network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
    """The read-out after a number of steps drawn for each image."""
    assert isinstance(network, EquilibriumNetwork)
    depth = noise.child("depth").integers(DEEPEST)
    return logits_by_depth(network, x)[depth, torch.arange(len(x), device=x.device)]


RANDOM_DEPTH = Impostor(
    "random-depth",
    "one gradient belongs to one depth, the next answer to another",
    keeps_labels=False,
    forms=(Form("wrapped", "randomised", wrapped(randomly_deep)),),
    random=True,
    deceives=False,
)
