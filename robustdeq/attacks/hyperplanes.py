"""The nearest point of a hyperplane within the box [0, 1], by the norm of the threat model."""

from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf


@singledispatch
def to_hyperplane(
    threat: ThreatModel,
    x: Float[Tensor, "batch *image"],
    normal: Float[Tensor, "batch *image"],
    gap: Float[Tensor, " batch"],
) -> Float[Tensor, "batch *image"]:
    """The smallest step from x in [0, 1] to the hyperplane, measured by the threat's norm.

        argmin |d|   subject to   <normal, d> = gap,   0 <= x + d <= 1

    Croce and Hein 2020 ("Minimally distorted adversarial examples with a fast adaptive boundary
    attack"), section 2, solved as there by sorting. With room_i the distance from x_i to the side
    of the box that it moves to, the solution has one unknown, the level of a waterline:

        |d_i| = min(level * pull_i, room_i),   pull_i = 1 (Linf) or |normal_i| (L2)

    Where the hyperplane misses the box this is the corner nearest to it. A row whose normal is zero
    has nowhere to go and stays.

    Raises:
        SpecError: no projection is known for this threat model.
    """
    raise SpecError(
        f"attack 'fab' has no projection for the threat {threat.plugin_name()!r}; "
        "use it with 'linf' or 'l2'"
    )


@to_hyperplane.register(Linf)
def _to_hyperplane_linf(threat: Linf, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
    normal, gap = _scaled(normal, gap)
    return _step(x, normal, gap, pull=torch.ones_like(normal))


@to_hyperplane.register(L2)
def _to_hyperplane_l2(threat: L2, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
    normal, gap = _scaled(normal, gap)
    return _step(x, normal, gap, pull=normal.abs())


def _scaled(normal: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """The same hyperplane with a largest coefficient of 1: squares of small ones vanish else."""
    peak = normal.abs().flatten(1).amax(1)
    peak = torch.where(peak > 0, peak, 1.0)
    return normal / peak.reshape(-1, *[1] * (normal.ndim - 1)), gap / peak


def _step(x: Tensor, normal: Tensor, gap: Tensor, pull: Tensor) -> Tensor:
    towards = normal.sign() * gap.sign().reshape(-1, *[1] * (x.ndim - 1))
    room = torch.where(towards > 0, 1.0 - x, torch.where(towards < 0, x, 0.0)).clamp(min=0.0)
    pull = torch.where(pull > 0, pull, 1.0)  # where the normal is 0, so is the room
    level = waterline((normal.abs() * pull).flatten(1), (room / pull).flatten(1), gap.abs())
    return towards * room.minimum(level.reshape(-1, *[1] * (x.ndim - 1)) * pull)


def waterline(
    slope: Float[Tensor, "batch n"], full: Float[Tensor, "batch n"], volume: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The level at which sum_i slope_i min(level, full_i) = volume; the highest `full` if none is.

    The left side is concave and piecewise linear in the level, with a kink at each full_i: one sort
    finds the piece and one division the level on it.
    """
    full, order = full.sort(dim=1)
    slope = slope.gather(1, order)
    zero = torch.zeros_like(full[:, :1])
    below = torch.cat([zero, full[:, :-1]], 1)
    steep = slope.flip(1).cumsum(1).flip(1)  # of the piece that ends at each kink
    risen = (steep * (full - below)).cumsum(1)
    piece = torch.searchsorted(risen, volume[:, None]).clamp(max=full.shape[1] - 1)
    parts = (below, torch.cat([zero, risen[:, :-1]], 1), steep)
    below, before, steep = (part.gather(1, piece) for part in parts)
    level = below + (volume[:, None] - before) / torch.where(steep > 0, steep, 1.0)
    return level.minimum(full[:, -1:])[:, 0]
