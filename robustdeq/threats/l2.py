"""The L2 ball."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class L2(ThreatModel):
    """All x' in [0, 1] with |x' - x|_2 <= eps.

    `project` shrinks the perturbation radially and then clips to [0, 1]. Clipping moves every pixel
    towards x, so the result lies in the set; it is not always the nearest point of ball and box,
    which is what Croce and Hein (2020, Auto-PGD) use too.

    `random_start` draws direction and radius uniformly. Uniform in the volume would be, in many
    dimensions, always on the sphere, from where short searches end lower.
    """

    def diameter(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(math.prod(shape))

    def steepest(self, gradient: Tensor) -> Tensor:
        # By its largest entry first: the squares of a gradient below 1e-20 vanish in float32.
        peak = gradient.abs().flatten(1).amax(1)
        scaled = gradient / _per_row(torch.where(peak > 0, peak, 1.0), gradient)
        length = scaled.flatten(1).norm(dim=1)
        return scaled / _per_row(torch.where(length > 0, length, 1.0), gradient)

    def distance(self, x: Tensor, x_adv: Tensor) -> Float[Tensor, " batch"]:
        return (x_adv - x).flatten(1).norm(dim=1)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        length = self.distance(x, x_adv)
        shrink = float(self.eps) / length.clamp(min=float(self.eps))
        return (x + _per_row(shrink, x) * (x_adv - x)).clamp(0.0, 1.0)

    def random_start(
        self, x: Tensor, rows: Int[Tensor, " batch"], noise: NoiseStream, draw: int = 0
    ) -> Tensor:
        shape = tuple(x.shape[1:])
        direction = self.steepest(noise.child("direction").normal(rows, draw, shape).to(x))
        radius = noise.child("radius").uniform(rows, draw).to(x)
        return self.project(x + float(self.eps) * _per_row(radius, x) * direction, x)


def _per_row(values: Float[Tensor, " batch"], like: Tensor) -> Tensor:
    """(B,) as (B, 1, ...), to multiply a batch of images."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
