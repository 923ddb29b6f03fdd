"""A search that reads nothing but labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.noise import NoiseStream
from robustdeq.surface import Surface
from robustdeq.threats.base import ThreatModel

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

    def perturb(
        self,
        surface: Surface,
        x: Float[Tensor, "batch *image"],
        y: Int[Tensor, " batch"],
        rows: Int[Tensor, " batch"],
        threat: ThreatModel,
        noise: NoiseStream,
    ) -> Float[Tensor, "candidates batch *image"]:
        radius, found = float(threat.eps), x.clone()
        nearest = x.new_full((len(x),), torch.inf)
        for restart in range(self.restarts):
            left = (nearest > radius).nonzero()[:, 0]
            search = _Search(surface, x[left], y[left], rows[left])
            self._run(search, radius, noise.child("rays", restart))
            nearer = search.distance < nearest[left]
            nearest[left[nearer]] = search.distance[nearer]
            found[left[nearer]] = search.point()[nearer]
        return threat.project(found, x)[None]

    def _run(self, search: "_Search", radius: float, noise: NoiseStream) -> None:
        shape = tuple(search.x.shape[1:])
        for draw in range(_STARTS):
            signs = noise.signs(search.rows, draw, shape).to(search.x).flatten(1)
            for each in (signs, -signs):
                left = search.unfinished(radius, self.queries)
                search.try_directions(left, each[left])
        for block in _blocks(search.signs.shape[1]):
            left = search.unfinished(radius, self.queries)
            if not len(left):
                break
            flipped = search.signs[left].clone()
            flipped[:, block] *= -1
            search.try_directions(left, flipped)


class _Search:
    """Each row's best direction and the distance at which its label is lost along it."""

    def __init__(self, surface: Surface, x: Tensor, y: Tensor, rows: Tensor):
        self._surface, self.x, self._y, self.rows = surface, x, y, rows
        self.signs = torch.ones_like(x).flatten(1)
        self.distance = x.new_full((len(x),), _FARTHEST)
        self._asked = torch.zeros_like(y)

    def unfinished(self, radius: float, queries: int) -> Int[Tensor, " n"]:
        """Rows that are not yet lost within the radius and may still ask."""
        return ((self.distance > radius) & (self._asked < queries)).nonzero()[:, 0]

    def try_directions(self, index: Int[Tensor, " n"], signs: Float[Tensor, "n pixels"]) -> None:
        """Keep those directions along which the label is lost nearer than so far."""
        better = self._lost(index, signs, self.distance[index])
        index, signs = index[better], signs[better]
        near, far = torch.zeros_like(self.distance[index]), self.distance[index]
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            lost = self._lost(index, signs, middle)
            near, far = torch.where(lost, near, middle), torch.where(lost, middle, far)
        self.signs[index], self.distance[index] = signs, far

    def point(self) -> Tensor:
        """x + r d of every row."""
        return self._along(self.x, self.signs, self.distance)

    def _lost(self, index: Tensor, signs: Tensor, distance: Tensor) -> Bool[Tensor, " n"]:
        if not len(index):
            return index.bool()
        self._asked[index] += 1
        x = self._along(self.x[index], signs, distance)
        logits = self._surface.view(x, self.rows[index], _LOGITS).logits
        return (logits.argmax(1) != self._y[index]) | ~torch.isfinite(logits).all(1)

    @staticmethod
    def _along(x: Tensor, signs: Tensor, distance: Tensor) -> Tensor:
        return (x + (signs * distance[:, None]).reshape(x.shape)).clamp(0.0, 1.0)


def _blocks(pixels: int) -> Iterator[slice]:
    """Halves, quarters, eighths, ... of the pixels, and the single ones again and again."""
    count = 2
    while True:
        size = -(-pixels // min(count, pixels))
        yield from (slice(start, start + size) for start in range(0, pixels, size))
        count *= 2
