"""The proposals of the Square attack, for a whole batch at once, each row with its own windows.

Both functions dispatch on the threat model; the Linf forms are Algorithm 2, the L2 forms Algorithm
3 and eq. 2 of Andriushchenko et al. 2020.
"""

from functools import singledispatch

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

DRAWS = 5  # uniform numbers `next_guess` reads for each row, besides one for each channel


@singledispatch
def first_guess(
    threat: ThreatModel,
    x: Float[Tensor, "batch channel height width"],
    rows: Int[Tensor, " batch"],
    noise: NoiseStream,
) -> Float[Tensor, "batch channel height width"]:
    """The structured random point of the threat set around x where the search starts.

    Raises:
        SpecError: the Square attack is not defined for this threat model.
    """
    raise SpecError(
        f"attack 'square' has no proposals for the threat {threat.plugin_name()!r}; "
        "use it with 'linf' or 'l2'"
    )


@singledispatch
def next_guess(
    threat: ThreatModel,
    x: Float[Tensor, "batch channel height width"],
    current: Float[Tensor, "batch channel height width"],
    side: int,
    draws: Float[Tensor, "batch draws"],
) -> Float[Tensor, "batch channel height width"]:
    """`current` with a window of about side x side pixels redrawn, in the threat set around x."""
    raise TypeError(threat)  # first_guess has refused it


@first_guess.register(Linf)
def _stripes(threat: Linf, x: Tensor, rows: Tensor, noise: NoiseStream) -> Tensor:
    """Vertical stripes of width one, each at +eps or -eps."""
    signs = noise.signs(rows, 0, (x.shape[1], 1, x.shape[3])).to(x)
    return threat.project(x + float(threat.eps) * signs, x)


@next_guess.register(Linf)
def _flipped_window(threat: Linf, x: Tensor, current: Tensor, side: int, draws: Tensor) -> Tensor:
    """One window, each channel moved to +eps or -eps.

    A draw that would leave the row unchanged is negated: it would waste a query (with one channel,
    every second one). The authors' first release draws such windows again.
    """
    height, width = x.shape[2:]
    side = max(side, 1)
    inside = _window(height, min(side, height), draws[:, 0])[:, None, :, None]
    inside = inside & _window(width, min(side, width), draws[:, 1])[:, None, None, :]
    move = 2.0 * float(threat.eps) * _signs(draws[:, DRAWS:]).to(x) * inside
    guess = threat.project(current + move, x)
    idle = (guess == current).flatten(1).all(1)[:, None, None, None]
    return torch.where(idle, threat.project(current - move, x), guess)


@first_guess.register(L2)
def _tiles(threat: L2, x: Tensor, rows: Tensor, noise: NoiseStream) -> Tensor:
    """A grid of bumps, five along the shorter side, of random sign and orientation."""
    channels, height, width = x.shape[1:]
    side = max(min(height, width) // 5, 1)
    grid = (height // side, width // side)
    signs = noise.child("signs").signs(rows, 0, (channels, *grid)).to(x)
    turned = noise.child("turned").integers(rows, 0, 2, (1, *grid)).bool()
    bump = _bump(side).to(x)
    tiles = torch.where(_enlarged(turned, side), bump.T.repeat(grid), bump.repeat(grid))
    spare_top, spare_left = (height - grid[0] * side) // 2, (width - grid[1] * side) // 2
    delta = torch.zeros_like(x)
    rows_of, columns_of = (
        slice(spare_top, spare_top + grid[0] * side),
        slice(spare_left, spare_left + grid[1] * side),
    )
    delta[:, :, rows_of, columns_of] = tiles * _enlarged(signs, side)
    return threat.project(x + float(threat.eps) * threat.steepest(delta), x)


@next_guess.register(L2)
def _moved_mass(threat: L2, x: Tensor, current: Tensor, side: int, draws: Tensor) -> Tensor:
    """The norm of a second window moved into the first, which a bump of random sign reshapes.

    In each channel, with nu the perturbation in window W1, eta the unit bump and rho = +-1:
        nu' = (rho eta + nu / |nu|) scaled to norm sqrt(|delta in W1 or W2|^2 + unused^2 / C),
    W2 \\ W1 is cleared, and the whole is scaled to radius eps.
    """
    channels, height, width = x.shape[1:]
    side = min(max(side, 3) | 1, height, width)  # odd, so that the bump has a centre
    delta = current - x
    first = _square(height, width, side, draws[:, 0:2])
    second = _square(height, width, side, draws[:, 2:4])
    bump = _bump(side).to(x)
    bumps = torch.where((draws[:, 4] < 0.5)[:, None, None], bump, bump.T)
    placed = torch.zeros_like(delta[:, :1])
    placed[first] = bumps.flatten()
    reshaped = _unit(delta * first) + _signs(draws[:, DRAWS:]).to(x) * placed
    unused = (float(threat.eps) ** 2 - threat.distance(x, current) ** 2).clamp(min=0.0)
    mass = (delta * (first | second)).square().sum((2, 3), keepdim=True)
    norm = (mass + unused[:, None, None, None] / channels).sqrt()
    moved = torch.where(first, norm * _unit(reshaped), torch.where(second, 0.0, delta))
    return threat.project(x + float(threat.eps) * threat.steepest(moved), x)


def _window(length: int, side: int, draw: Float[Tensor, " batch"]) -> Bool[Tensor, "batch length"]:
    """Which positions of an axis lie in a window of `side`, placed by `draw` in [0, 1)."""
    start = (draw * (length - side + 1)).long()[:, None]
    position = torch.arange(length, device=draw.device)
    return (position >= start) & (position < start + side)


def _square(
    height: int, width: int, side: int, draws: Float[Tensor, "batch 2"]
) -> Bool[Tensor, "batch 1 height width"]:
    down, across = _window(height, side, draws[:, 0]), _window(width, side, draws[:, 1])
    return down[:, None, :, None] & across[:, None, None, :]


def _signs(draws: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel 1 1"]:
    return torch.where(draws < 0.5, -1.0, 1.0)[:, :, None, None]


def _unit(delta: Float[Tensor, "batch channel height width"]) -> Tensor:
    """Each channel divided by its norm; zero stays zero."""
    norm = delta.square().sum((2, 3), keepdim=True).sqrt()
    return delta / torch.where(norm > 0, norm, 1.0)


def _enlarged(grid: Tensor, side: int) -> Tensor:
    """Every entry of (..., rows, columns) as a block of side x side."""
    return grid.repeat_interleave(side, -2).repeat_interleave(side, -1)


def _bump(side: int) -> Float[Tensor, "side side"]:
    """Two hills of opposite sign above one another, of unit norm together (eq. 2)."""
    upper = side // 2
    bump = torch.cat([_hill(upper, side), -_hill(side - upper, side)])
    return bump / bump.norm()


def _hill(height: int, width: int) -> Float[Tensor, "height width"]:
    """sum over k >= d of 1 / (k + 1)^2 at max-norm distance d from the centre; unit norm."""
    down = (torch.arange(height) - height // 2).abs()
    across = (torch.arange(width) - width // 2).abs()
    distance = torch.maximum(down[:, None], across[None, :])
    terms = 1.0 / torch.arange(1, max(height, width) // 2 + 2) ** 2
    hill = terms.flip(0).cumsum(0).flip(0)[distance]
    return hill / hill.norm() if hill.numel() else hill
