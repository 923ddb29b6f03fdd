"""How an attacker comes at a target."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.threats.base import ThreatModel

Confirm = Callable[[Samples], Bool[Tensor, " n"]]
Start = Callable[[Samples, ThreatModel, NoiseStream, int], Tensor]


def nobody(samples: Samples) -> Bool[Tensor, " n"]:
    """Confirms nothing, so that an attack spends its whole budget on every sample."""
    return torch.zeros(len(samples), dtype=torch.bool, device=samples.images.device)


def at_random(samples: Samples, threat: ThreatModel, noise: NoiseStream, draw: int) -> Tensor:
    """A random point of the threat set around each sample."""
    return threat.random_start(samples.images, samples.positions, noise, draw)


@dataclass(frozen=True)
class Approach:
    """What an attacker has of a target: a surface to look at, and what no look can tell.

    Attributes:
        surface: what is looked at.
        confirm: is the deployed predictor, started cold, fooled by these images? Its work is
            counted, and its draws are never the judge's.
        start: where search number `draw` of some samples begins.
        confirm_every: looks between two confirmations: more where a cold confirmation costs many
            times what a look does.
    """

    surface: Surface
    confirm: Confirm = nobody
    start: Start = at_random
    confirm_every: int = 1
