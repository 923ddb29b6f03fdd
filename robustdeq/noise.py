"""Random numbers keyed by (seed, sample, draw), so that batching and order cannot matter.

A generator that is consumed batch by batch gives a sample another random start as soon as the batch
size changes or a row before it is dropped. Here every number is a pure function of *which* sample,
draw and element it is for: a counter-based generator in the sense of Salmon et al. (2011, "Parallel
random numbers: as easy as 1, 2, 3"), with the output function of SplitMix64 (Steele, Lea, Flood
2014) as the mixer. What a defense draws at inference is keyed by secret words instead of positions,
so that no hook learns which sample it is asked about. Nothing here reads or moves torch's global
generator, and integer arithmetic makes the draws bitwise the same on every device.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

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


def _key(*parts: str | int) -> int:
    """63 bits of a digest."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical right shift (torch's own is arithmetic on int64)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


class RowNoise(ABC):
    """The draws of one batch, as a hook is handed them: a sample's are the same in every batch."""

    @abstractmethod
    def child(self, *names: str | int) -> "RowNoise":
        """An independent stream for the same samples."""

    @abstractmethod
    def bits(self, draw: int, count: int) -> Int[Tensor, "batch n"]:
        """`count` uniform 64-bit words for every sample."""

    def uniform(self, shape: tuple[int, ...] = (), draw: int = 0) -> Float[Tensor, "batch ..."]:
        """Uniform on [0, 1) with 24 random bits, float32: (B, *shape)."""
        words = self.bits(draw, math.prod(shape))
        return (_shift_right(words, 40).to(torch.float32) * 2.0**-24).reshape(len(words), *shape)

    def normal(self, shape: tuple[int, ...] = (), draw: int = 0) -> Float[Tensor, "batch ..."]:
        """Standard normal by Box and Muller (1958), float32: (B, *shape)."""
        count = math.prod(shape)
        u = self.uniform((2 * count,), draw)
        radius = torch.sqrt(-2.0 * torch.log1p(-u[:, :count]))
        return (radius * torch.cos(2.0 * math.pi * u[:, count:])).reshape(len(u), *shape)

    def integers(
        self, high: int, shape: tuple[int, ...] = (), draw: int = 0
    ) -> Int[Tensor, "batch ..."]:
        """Uniform on 0 .. high-1: (B, *shape); `high` must be far below 2^24."""
        return (self.uniform(shape, draw) * high).to(torch.int64)


@dataclass(frozen=True)
class NoiseStream:
    """A keyed source of draws.

    `rows` is always the (B,) position of each sample in its data slice and `draw` the number of the
    draw; the same triple (stream, row, draw) gives the same numbers for ever.

    Attributes:
        salt: keys what is `sealed`, and nothing else: whoever knows the seed cannot foresee that.
    """

    seed: int
    salt: str = ""

    def child(self, *names: str | int) -> "NoiseStream":
        """An independent stream, named rather than numbered: `noise.child("pgd", restart)`."""
        return NoiseStream(_key(self.seed, *names), self.salt)

    def bits(self, rows: Int[Tensor, " batch"], draw: int, count: int) -> Int[Tensor, "batch n"]:
        """`count` uniform 64-bit words for every row."""
        return _words(_mix((rows.to(torch.int64) + 1) * _GOLDEN + _signed(self.seed)), draw, count)

    def uniform(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """Uniform on [0, 1) with 24 random bits, float32: (B, *shape)."""
        return self.at(rows).uniform(shape, draw)

    def normal(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """Standard normal, float32: (B, *shape)."""
        return self.at(rows).normal(shape, draw)

    def integers(
        self, rows: Int[Tensor, " batch"], draw: int, high: int, shape: tuple[int, ...] = ()
    ) -> Int[Tensor, "batch ..."]:
        """Uniform on 0 .. high-1: (B, *shape); `high` must be far below 2^24."""
        return self.at(rows).integers(high, shape, draw)

    def signs(
        self, rows: Int[Tensor, " batch"], draw: int, shape: tuple[int, ...] = ()
    ) -> Float[Tensor, "batch ..."]:
        """-1 or +1 with equal chance, float32: (B, *shape)."""
        return self.integers(rows, draw, 2, shape).to(torch.float32) * 2.0 - 1.0

    def permutation(self, count: int, draw: int = 0) -> Int[Tensor, " n"]:
        """A permutation of 0 .. count-1, for the order of an epoch."""
        return torch.argsort(self.bits(torch.arange(count), draw, 1)[:, 0], stable=True)

    def at(self, rows: Int[Tensor, " batch"]) -> "TrainingNoise":
        """This stream, bound to a batch of training samples: what training hands to a defense."""
        return TrainingNoise(self, rows)

    def sealed(self, rows: Int[Tensor, " batch"]) -> "SealedNoise":
        """This stream, bound to samples that stay unknown: what inference hands to a defense."""
        own = _signed(_key(self.salt, self.seed))
        return SealedNoise(_mix(_sample_words(self.salt, rows) + own))

    @property
    def hidden(self) -> "NoiseStream":
        """A stream of its own that only who knows the salt can foresee."""
        return NoiseStream(_key(self.salt, self.seed, "hidden"), self.salt)


@dataclass(frozen=True)
class TrainingNoise(RowNoise):
    """The draws of a training batch: a stream, and the positions of its training samples."""

    stream: NoiseStream
    rows: Int[Tensor, " batch"]

    def child(self, *names: str | int) -> "TrainingNoise":
        return TrainingNoise(self.stream.child(*names), self.rows)

    def bits(self, draw: int, count: int) -> Int[Tensor, "batch n"]:
        return self.stream.bits(self.rows, draw, count)


@dataclass(frozen=True)
class SealedNoise(RowNoise):
    """The draws of a batch of unknown samples.

    Attributes:
        keys: a secret word for each sample, through which no position can be found.
    """

    keys: Int[Tensor, " batch"]

    def child(self, *names: str | int) -> "SealedNoise":
        return SealedNoise(_mix(self.keys + _signed(_key(*names))))

    def bits(self, draw: int, count: int) -> Int[Tensor, "batch n"]:
        return _words(self.keys, draw, count)


def _words(keys: Int[Tensor, " batch"], draw: int, count: int) -> Int[Tensor, "batch n"]:
    """`count` uniform 64-bit words for every key."""
    element = torch.arange(count, device=keys.device, dtype=torch.int64)
    return _mix(_mix(keys + _signed((draw + 1) * _MIX_1))[:, None] + (element + 1) * _GOLDEN)


def _sample_words(salt: str, rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """A word for each position that is in no relation to it: `_mix` alone could be undone."""
    if not len(rows):
        return rows.to(torch.int64)
    count = 1 << int(rows.max()).bit_length()
    return _secret_table(salt, count).to(rows.device)[rows]


@lru_cache(maxsize=8)
def _secret_table(salt: str, count: int) -> Int[Tensor, " count"]:
    words = hashlib.shake_128(salt.encode()).digest(8 * count)
    return torch.frombuffer(bytearray(words), dtype=torch.int64)
