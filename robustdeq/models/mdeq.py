"""The multiscale deep equilibrium model: stem, cell and head, after the authors' later code."""

from collections.abc import Callable
from functools import reduce
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from robustdeq.models.cells import Cell, Map

_INIT = 0.01  # standard deviation of the convolutions that no weight normalisation holds
_WIDENING = 4  # of a bottleneck of the head
Block = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


def conv(into: int, out: int, size: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the resolution, or divides it by the stride."""
    return nn.Conv2d(into, out, size, stride, padding=size // 2, bias=bias)


def weight_of(layer: nn.Module) -> Tensor:
    """The weight of a weight-normalised layer, from its direction and length of the moment."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


class ResidualBlock(nn.Module):
    """y = N3(relu(N2(drop(W2 relu(N1(W1 z))) + u) + z)) at one scale (2020, figure 3).

    The rectifier stands before the last normalisation and the injection goes in before the second,
    as in the authors' code. Both 3x3 convolutions are weight-normalised.
    """

    def __init__(self, channels: int, expansion: int, groups: int):
        super().__init__()
        inner = expansion * channels
        self.widen = weight_norm(conv(channels, inner))
        self.narrow = weight_norm(conv(inner, channels))
        widths = (inner, channels, channels)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for width in widths)

    def fixed(self) -> Block:
        """(z, injection or None, mask (B, channels) or None) -> y, for the weights of now."""
        widen, narrow = weight_of(self.widen), weight_of(self.narrow)
        first, second, third = self.norms

        def block(z: Tensor, u: Tensor | None, mask: Tensor | None) -> Tensor:
            h = conv2d(torch.relu(first(conv2d(z, widen, padding=1))), narrow, padding=1)
            h = h if mask is None else h * mask[:, :, None, None]
            h = h if u is None else h + u
            return third(torch.relu(second(h) + z))

        return block


def lowered(into: int, out: int, levels: int, groups: int) -> nn.Module:
    """Down by 2^levels: stride-2 convolutions, normalised; the channels change in the last one."""
    widths = [into] * levels + [out]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [conv(before, after, stride=2), nn.GroupNorm(groups, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def raised(into: int, out: int, levels: int, groups: int) -> nn.Module:
    """Up by 2^levels: a 1x1 convolution, normalised, and the nearest pixel."""
    up = nn.Upsample(scale_factor=2**levels, mode="nearest")
    return nn.Sequential(conv(into, out, 1), nn.GroupNorm(groups, out), up)


class MultiscaleCell(Cell):
    """f(z; u): a residual block at every scale, then every scale from all (2020, section 3).

        y_i = block_i(z_i; u if i = 1 else 0),   z_i' = N(W_i relu(sum_j T_ji(y_j)))

    T_ii is the identity, T_ji lowers or raises the resolution; N has no affine part.

    Args:
        scales: channels of each scale; the resolution halves from one to the next.
        size: height and width of the finest scale, divisible by 2^(scales - 1).
        expansion: of the width inside a block.
        groups: of the normalisations in blocks and fusion; half as many after the fusion.

    Shapes:
        z: (B, dim), all scales of a row one after the other; u: (B, scales[0], height, width);
        mask: (B, sum(scales)), factors on the channels of each block's second convolution.
    """

    def __init__(self, scales: tuple[int, ...], size: tuple[int, int], expansion: int, groups: int):
        super().__init__()
        self.scales = scales
        self.shapes = [(c, size[0] >> i, size[1] >> i) for i, c in enumerate(scales)]
        self.sizes = [c * h * w for c, h, w in self.shapes]
        self.blocks = nn.ModuleList(ResidualBlock(c, expansion, groups) for c in scales)
        self.fusion = nn.ModuleList(
            nn.ModuleList(self._transfer(j, i, groups) for j in range(len(scales)))
            for i in range(len(scales))
        )
        self.after = nn.ModuleList(weight_norm(conv(c, c, 1)) for c in scales)
        self.norms = nn.ModuleList(nn.GroupNorm(groups // 2, c, affine=False) for c in scales)

    @property
    def dim(self) -> int:
        """Numbers in one row's state."""
        return sum(self.sizes)

    def parts(self, z: Float[Tensor, "batch dim"]) -> list[Tensor]:
        """The maps (B, channels, height, width) of the scales, finest first."""
        pieces = z.split(self.sizes, 1)
        return [p.unflatten(1, shape) for p, shape in zip(pieces, self.shapes, strict=True)]

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        return self.fixed()(z, u)

    def fixed(self) -> Map:
        blocks = [block.fixed() for block in self.blocks if isinstance(block, ResidualBlock)]
        after = [weight_of(layer) for layer in self.after]

        def f(z: Tensor, u: Tensor, mask: Tensor | None = None) -> Tensor:
            masks = [None] * len(blocks) if mask is None else mask.split(self.scales, 1)
            parts = zip(blocks, self.parts(z), masks, strict=True)
            y = [block(part, None if i else u, m) for i, (block, part, m) in enumerate(parts)]
            return torch.cat([self._fused(i, y, after[i]) for i in range(len(y))], 1)

        return f

    def _fused(self, i: int, y: list[Tensor], weight: Tensor) -> Tensor:
        transfers = self.fusion[i]
        assert isinstance(transfers, nn.ModuleList)
        total = reduce(torch.add, (t(part) for t, part in zip(transfers, y, strict=True)))
        return self.norms[i](conv2d(torch.relu(total), weight)).flatten(1)

    def _transfer(self, j: int, i: int, groups: int) -> nn.Module:
        into, out = self.scales[j], self.scales[i]
        if i == j:
            return nn.Identity()
        return lowered(into, out, i - j, groups) if j < i else raised(into, out, j - i, groups)


def stem(in_channels: int, channels: int, scales: int) -> nn.Module:
    """u(x) for the finest scale: two 3x3 convolutions; with more than two scales a 1x1, too."""
    layers = [
        conv(in_channels, channels), nn.BatchNorm2d(channels), nn.ReLU(),
        conv(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(),
    ]  # fmt: skip
    if scales > 2:
        layers += [conv(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """relu(body(z) + shortcut(z)) to 4 `width` channels; only the shortcut's norm is affine."""

    def __init__(self, into: int, width: int):
        super().__init__()
        out = _WIDENING * width
        self.body = nn.Sequential(
            conv(into, width, 1), nn.BatchNorm2d(width, affine=False), nn.ReLU(),
            conv(width, width), nn.BatchNorm2d(width, affine=False), nn.ReLU(),
            conv(width, out, 1), nn.BatchNorm2d(out, affine=False),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if into != out:
            self.shortcut = nn.Sequential(conv(into, out, 1), nn.BatchNorm2d(out))

    def forward(self, z: Tensor) -> Tensor:
        return torch.relu(self.body(z) + self.shortcut(z))


class MultiscaleHead(nn.Module):
    """Logits (B, classes) of flat states (B, dim): from the finest scale down to the coarsest.

        y_1 = B_1(z_1),   y_(i+1) = B_(i+1)(z_(i+1)) + D_i(y_i),   logits = W mean(F(y_n))

    B are bottlenecks, D a stride-2 and F a 1x1 convolution, both with biases, normalised and
    rectified. The normalisations of stem and head are the only ones with running statistics.

    Args:
        parts: the maps of the scales in a flat state.
        scales: their channels; `widths` those inside the bottlenecks.
        final: channels before the pooling over all pixels.
    """

    def __init__(
        self,
        parts: Callable[[Tensor], list[Tensor]],
        scales: tuple[int, ...],
        widths: tuple[int, ...],
        final: int,
        classes: int,
    ):
        super().__init__()
        self._parts = parts
        outs = [_WIDENING * width for width in widths]
        self.bottlenecks = nn.ModuleList(map(Bottleneck, scales, widths))
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2, bias=True), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(outs)
        )
        self.final = nn.Sequential(
            conv(outs[-1], final, 1, bias=True), nn.BatchNorm2d(final), nn.ReLU()
        )
        self.classifier = nn.Linear(final, classes)

    def forward(self, z: Tensor) -> Tensor:
        first, *others = self._parts(z)
        y = self.bottlenecks[0](first)
        for bottleneck, down, part in zip(self.bottlenecks[1:], self.down, others, strict=True):
            y = bottleneck(part) + down(y)
        return self.classifier(self.final(y).mean((2, 3)))


def initialise(network: nn.Module) -> None:
    """The authors' start: N(0, 0.01^2) for every convolution without a weight normalisation.

    Theirs draws all of them, but the normalised ones are recomputed from a direction and a length
    that keep torch's default start: that is the model that the published numbers are of.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not is_parametrized(layer):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, 0.0, _INIT)
