"""Random numbers keyed by (seed, sample, draw), so that batching and order cannot matter.

A generator that is consumed batch by batch gives a sample another random start as soon as the batch
size changes or a row before it is dropped. Here every number is a pure function of *which* sample,
draw and element it is for: a counter-based generator in the sense of Salmon et al. (2011, "Parallel
random numbers: as easy as 1, 2, 3"), with the output function of SplitMix64 (Steele, Lea, Flood
2014) as the mixer. Nothing here reads or moves torch's global generator, and integer arithmetic
makes the draws bitwise the same on every device.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _signed(value: int) -> int:
    """The 64-bit two's complement word of an integer, as torch's int64 arithmetic wraps it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical right shift (torch's own is arithmetic on int64)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


@dataclass(frozen=True)
class NoiseStream:
    """A keyed source of draws.

    `rows` is always the (B,) position of each sample in its data slice and `draw` the number of the
    draw; the same triple (stream, row, draw) gives the same numbers for ever.
    """

    seed: int

    def child(self, *names: str | int) -> "NoiseStream":
        """An independent stream, named rather than numbered: `noise.child("pgd", restart)`."""
        text = "\x1f".join([str(self.seed), *map(str, names)])
        key = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return NoiseStream(int.from_bytes(key, "big") >> 1)

    def bits(self, rows: Int[Tensor, " batch"], draw: int, count: int) -> Int[Tensor, "batch n"]:
        """`count` uniform 64-bit words for every row."""
        element = torch.arange(count, device=rows.device, dtype=torch.int64)
        key = _mix((rows.to(torch.int64) + 1) * _GOLDEN + _signed(self.seed))
        key = _mix(key + _signed((draw + 1) * _MIX_1))
        return _mix(key[:, None] + (element + 1) * _GOLDEN)

    def uniform(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """Uniform on [0, 1) with 24 random bits, float32: (B, *shape)."""
        words = self.bits(rows, draw, math.prod(shape))
        return (_shift_right(words, 40).to(torch.float32) * 2.0**-24).reshape(len(rows), *shape)

    def normal(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """Standard normal by Box and Muller (1958), float32: (B, *shape)."""
        count = math.prod(shape)
        u = self.uniform(rows, draw, (2 * count,))
        radius = torch.sqrt(-2.0 * torch.log1p(-u[:, :count]))
        return (radius * torch.cos(2.0 * math.pi * u[:, count:])).reshape(len(rows), *shape)

    def integers(
        self, rows: Int[Tensor, " batch"], draw: int, high: int, shape: tuple[int, ...] = ()
    ) -> Int[Tensor, "batch ..."]:
        """Uniform on 0 .. high-1: (B, *shape); `high` must be far below 2^24."""
        return (self.uniform(rows, draw, shape) * high).to(torch.int64)

    def signs(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """-1 or +1 with equal chance, float32: (B, *shape)."""
        return self.integers(rows, draw, 2, shape).to(torch.float32) * 2.0 - 1.0

    def permutation(self, count: int, draw: int = 0) -> Int[Tensor, " n"]:
        """A permutation of 0 .. count-1, for the order of an epoch."""
        return torch.argsort(self.bits(torch.arange(count), draw, 1)[:, 0], stable=True)

    def at(self, rows: Int[Tensor, " batch"]) -> "RowNoise":
        """This stream, bound to a batch: what a defence is handed."""
        return RowNoise(self, rows)


@dataclass(frozen=True)
class RowNoise:
    """The draws of one batch: a `NoiseStream` that knows which samples it is for."""

    stream: NoiseStream
    rows: Int[Tensor, " batch"]

    def child(self, *names: str | int) -> "RowNoise":
        """An independent stream for the same samples."""
        return RowNoise(self.stream.child(*names), self.rows)

    def uniform(self, shape: tuple[int, ...] = (), draw: int = 0) -> Float[Tensor, "batch ..."]:
        """Uniform on [0, 1): (B, *shape)."""
        return self.stream.uniform(self.rows, draw, shape)

    def normal(self, shape: tuple[int, ...] = (), draw: int = 0) -> Float[Tensor, "batch ..."]:
        """Standard normal: (B, *shape)."""
        return self.stream.normal(self.rows, draw, shape)

    def integers(
        self, high: int, shape: tuple[int, ...] = (), draw: int = 0
    ) -> Int[Tensor, "batch ..."]:
        """Uniform on 0 .. high-1: (B, *shape)."""
        return self.stream.integers(self.rows, draw, high, shape)
