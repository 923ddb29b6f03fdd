"""Random points of a ball that its uniform draws do not reach."""

import math

from jaxtyping import Int
from torch import Tensor

from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel


def corner(
    threat: ThreatModel, x: Tensor, rows: Int[Tensor, " batch"], noise: NoiseStream, draw: int = 0
) -> Tensor:
    """Each image plus or minus as much in every coordinate, projected; keyed by row.

    The corners of an Linf ball are its farthest points, where a boundary is crossed first, and no
    uniform draw comes near them: (batch, *image) -> the same.
    """
    shape = tuple(x.shape[1:])
    far = float(threat.eps) * math.sqrt(math.prod(shape))
    return threat.project(x + far * noise.signs(rows, draw, shape).to(x), x)
