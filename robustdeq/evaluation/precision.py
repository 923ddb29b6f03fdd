"""Does a verdict hang on rounding? The same images in float64, solved far tighter."""

import copy
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from robustdeq.defenses.base import DefendedModel, overrides
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.solvers.anderson import Anderson

_TIGHT = Anderson(tol=1e-8, max_steps=500, every=2)


def flips(
    target: DefendedModel, x: Tensor, labels: Int[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """Which rows another solver in float64 at 1e-8 labels differently.

    Listed beside the verdicts and never used to change one: what is deployed is judged. A defence
    with its own inference is not re-run in float64, nor is a network without an equilibrium.
    """
    model = target.classifier
    own_path = overrides(target.defense, "infer") or overrides(target.defense, "transform")
    if not isinstance(model, EquilibriumNetwork) or own_path or not len(x):
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    tight = copy.deepcopy(model).double().replaced(solver=_TIGHT)
    double = replace(target, classifier=tight)
    answers = torch.cat([double.classifier.predict(part).labels for part in x.double().split(128)])
    return answers != labels
