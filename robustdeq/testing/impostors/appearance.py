"""What an evaluator reports who trusts the gradient that a defense offers."""

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustdeq.defenses.base import DefendedModel
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel

_STEPS = 20


def naive_attack(
    target: DefendedModel, x: Tensor, y: Int[Tensor, " n"], threat: ThreatModel
) -> Tensor:
    """PGD-20 on the cross-entropy of `relaxed`, differentiated as its author wants: x_adv like x.

    Madry et al. (2018), section 2.1, with a random start and steps of a quarter of the radius. The
    last iterate is returned, unseen by the deployed predictor; where no gradient reaches the input,
    that is the random start.
    """
    rows, noise = torch.arange(len(y), device=y.device), NoiseStream(0).child("naive")
    current = threat.random_start(x, rows, noise)
    for step in range(_STEPS):
        with torch.enable_grad():
            leaf = current.detach().requires_grad_()
            logits = target.defense.relaxed(target, leaf, noise.child(step).sealed(rows))
            loss = cross_entropy(logits, y, reduction="sum")
        if not loss.requires_grad:
            return current
        (gradient,) = torch.autograd.grad(loss, leaf)
        ahead = current + 0.25 * float(threat.eps) * threat.steepest(gradient)
        current = threat.project(ahead, x)
    return current
