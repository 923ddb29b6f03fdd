"""A search that reads nothing but labels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.answers import labels
from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.search import Search
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.surface import Surface

_FARTHEST = 1.0  # pixel values: beyond it every pixel is at its bound
_STARTS = 8
_HALVINGS = 12  # of a search along a ray: to 1/4096 of its length
_LOGITS = frozenset({"logits"})


@dataclass(frozen=True)
class RayS(Attack):
    """RayS, Algorithm 3 of Chen and Gu 2020 ("RayS: A ray searching method for hard-label
    adversarial attack").

    Looks for the sign vector d along which the label is lost nearest to x: signs are flipped block
    by block, in 2, 4, 8, ... blocks, and a flip is kept where x + r d' is still misread at the best
    distance r so far, which is then searched for by halving. What is put forward is x + r d within
    the threat set. It reads labels alone, so nothing can be hidden from it that is not hidden from
    a user.

    Differs from the original where ours starts: at the best of 8 random sign vectors and their
    opposites, keyed by row, rather than at all +1, along which a label may never be lost. Rows
    leave when their r is within the radius of an Linf ball. A flip of one block may not help where
    two would, so a search gets stuck; a restart looks elsewhere.

    Attributes:
        queries: labels read per row and restart; a last ray is searched to its end, 12 more.
        restarts: searches from other directions, of rows that are not lost yet.

    Raises:
        SpecError: a count below 1.
    """

    needs_gradient: ClassVar[bool] = False
    queries: int = 2000
    restarts: int = 1

    def __post_init__(self):
        require_counts(self, "queries", "restarts")

    def run(self, search: Search) -> None:
        radius, samples = float(search.threat.eps), search.samples
        found = samples.images.clone()
        nearest = found.new_full((len(found),), torch.inf)
        for restart in range(self.restarts):
            left = (nearest > radius).nonzero()[:, 0]
            some, draws = samples.select(left), search.noise.child("rays", restart)
            rays = _Rays(search.surface, some)
            rays.follow(_Directions(some, draws, self.queries), radius, self.queries)
            nearer = rays.distance < nearest[left]
            nearest[left[nearer]] = rays.distance[nearer]
            found[left[nearer]] = rays.point()[nearer]
        search.put_forward(search.threat.project(found, samples.images))


class _Directions:
    """What each row tries in turn: random sign vectors and their opposites, then flips of its best.

    Flips are of halves, quarters, eighths, ... of the pixels, then of single ones again and again.
    """

    def __init__(self, samples: Samples, noise: NoiseStream, turns: int):
        shape, rows = tuple(samples.images.shape[1:]), samples.positions
        starts = [noise.signs(rows, draw, shape).flatten(1) for draw in range(_STARTS)]
        both = torch.stack([sign * start for start in starts for sign in (1, -1)])
        self._starts = both.to(torch.int8)  # kept for the whole search: a byte a sign, not four
        edges = list(islice(_blocks(math.prod(shape)), turns))
        self._edges = torch.tensor(edges, device=rows.device)

    def at(
        self, turn: Int[Tensor, " n"], index: Int[Tensor, " n"], best: Float[Tensor, "n pixels"]
    ) -> Float[Tensor, "n pixels"]:
        """The sign vectors of some rows, each at a turn of its own, counted from 0."""
        flip = turn - len(self._starts)
        first, end = self._edges[flip.clamp(min=0)].T[:, :, None]
        pixel = torch.arange(best.shape[1], device=best.device)
        flipped = torch.where((first <= pixel) & (pixel < end), -best, best)
        start = self._starts[turn.clamp(max=len(self._starts) - 1), index].to(best)
        return torch.where((flip < 0)[:, None], start, flipped)


class _Rays:
    """Each row's best direction and the distance at which its label is lost along it.

    All rows ask at once, and each asks what its own last answer calls for: whether another
    direction loses the label at the best distance so far or, where one did, whether half-way does.
    In step, nearly all rows would wait for the few whose direction is better.
    """

    def __init__(self, surface: Surface, samples: Samples):
        self._surface, self._samples = surface, samples
        self.signs = torch.ones_like(samples.images).flatten(1)
        self.distance = samples.images.new_full((len(samples),), _FARTHEST)

    def follow(self, directions: _Directions, radius: float, queries: int) -> None:
        """Search until each row is lost within the radius or has asked so often."""
        index = torch.arange(len(self._samples), device=self.signs.device)
        asked, turn, halvings = (torch.zeros_like(index) for _ in range(3))
        signs = directions.at(turn, index, self.signs)
        near, far = self.distance.clone(), self.distance.clone()  # its middle is asked about
        while len(index):
            middle = (near + far) / 2
            lost = self._lost(index, signs, middle)
            asked += 1
            untried = halvings == 0
            near = torch.where(lost, torch.where(untried, 0.0, near), middle)
            far = torch.where(lost, middle, far)
            halvings += 1
            found = halvings > _HALVINGS
            self.signs[index[found]], self.distance[index[found]] = signs[found], far[found]
            ended = found | (untried & ~lost)
            turn, halvings = turn + ended.long(), halvings.masked_fill(ended, 0)
            best = self.distance[index]
            stay = ~ended | ((best > radius) & (asked < queries))
            ended = ended[stay]
            index, asked, turn, halvings = index[stay], asked[stay], turn[stay], halvings[stay]
            signs, near, far, best = signs[stay], near[stay], far[stay], best[stay]
            signs[ended] = directions.at(turn[ended], index[ended], self.signs[index[ended]])
            near, far = torch.where(ended, best, near), torch.where(ended, best, far)

    def point(self) -> Tensor:
        """x + r d of every row."""
        return self._along(self._samples.images, self.signs, self.distance)

    def _lost(self, index: Tensor, signs: Tensor, distance: Tensor) -> Bool[Tensor, " n"]:
        some = self._samples.select(index)
        x = self._along(some.images, signs, distance)
        logits = self._surface.view(x, some.positions, _LOGITS).logits
        return labels(logits) != some.labels

    @staticmethod
    def _along(x: Tensor, signs: Tensor, distance: Tensor) -> Tensor:
        return (x + (signs * distance[:, None]).reshape(x.shape)).clamp(0.0, 1.0)


def _blocks(pixels: int) -> Iterator[tuple[int, int]]:
    """First and end of the halves, quarters, eighths, ... and of the single pixels for ever."""
    count = 2
    while True:
        size = -(-pixels // min(count, pixels))
        yield from ((first, first + size) for first in range(0, pixels, size))
        count *= 2
