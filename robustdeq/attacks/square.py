"""The Square attack: random search with square-shaped updates, no gradients."""

import bisect
import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.search import Search
from robustdeq.attacks.squares import DRAWS, first_guess, next_guess
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective
from robustdeq.objectives.margin import Margin

# Out of 10 000 queries: after which ones the window area is halved (the authors' released code).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square(Attack):
    """Black-box random search over windows of shrinking area.

    Andriushchenko, Croce, Flammarion and Hein 2020 ("Square Attack: a query-efficient black-box
    adversarial attack via random search"), Algorithm 1 with the proposals of Algorithms 2 (Linf)
    and 3 (L2). `p_init` is the first window's share of the image; the halvings are rescaled to the
    number of `queries`, as the paper does for budgets other than 10 000.

    Every row has windows of its own, keyed by row and query, so that its search does not depend on
    its batch; images may be of any shape (C, H, W). A row costs at most `queries` values a restart.

    Raises:
        SpecError: a count below 1, `p_init` outside (0, 1], input that is no batch of images, or a
            threat model without proposals.
    """

    needs_gradient: ClassVar[bool] = False
    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1
    objective: Objective = field(default_factory=Margin)

    def __post_init__(self):
        require_counts(self, "queries", "restarts")
        if not 0.0 < self.p_init <= 1.0:
            raise SpecError(f"p_init = {self.p_init}; expected a share of the image, in (0, 1]")

    def run(self, search: Search) -> None:
        if search.samples.images.ndim != 4:
            raise SpecError(
                f"attack 'square' needs images (batch, channel, height, width), got shape "
                f"{tuple(search.samples.images.shape)}; use 'apgd' for other input"
            )
        for restart in range(self.restarts):
            self._search(search, search.noise.child("square", restart))

    def window_share(self, query: int) -> float:
        """The share of the image that the window of a query (counted from 0) covers."""
        return self.p_init / 2 ** bisect.bisect_left(_HALVINGS, query * 10_000 // self.queries)

    def _search(self, search: Search, noise: NoiseStream) -> None:
        threat, best = search.threat, search.standing()
        clean, first, windows = best.samples, noise.child("first"), noise.child("windows")
        guess = best.moved(first_guess(threat, clean.images, clean.positions, first))
        value = guess.x.new_full((len(guess),), -math.inf)
        for query in range(self.queries):
            if not len(best):
                return
            if query:
                clean, (channels, height, width) = best.samples, best.x.shape[1:]
                side = round(math.sqrt(self.window_share(query - 1) * height * width))
                draws = windows.uniform(clean.positions, query, (DRAWS + channels,))
                guess = best.moved(next_guess(threat, clean.images, best.x, side, draws))
            seen = search.value(guess, self.objective).value
            better = seen > value
            best = best.moved(torch.where(better[:, None, None, None], guess.x, best.x))
            value, left = torch.where(better, seen, value), search.left(best)
            best, value = best.select(left), value[left]
