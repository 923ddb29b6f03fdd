"""The ledger every own attack keeps: what it found for each row, and which rows need more work."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.answers import labels, margin
from robustdeq.attacks.approach import Approach
from robustdeq.samples import Samples


class Incumbents:
    """The best iterates of a batch, row by row, and the rows still under attack.

    A surrogate may think a row lost that the deployed predictor still gets right. So a row leaves
    the search only when `Approach.confirm` says yes ("verified dropping"); until then it is
    attacked on. Its iterate of the highest margin is put forward every `Approach.confirm_every`
    observations, and again only once that margin exceeds the one at the last refusal. A row that
    the surrogate had wrong before the attack is therefore attacked like any other.

    `index` is everywhere the (n,) position of some rows in the batch.

    Attributes:
        observed: how often iterates have been entered.
    """

    def __init__(self, approach: Approach, samples: Samples):
        self._approach, self._samples = approach, samples
        x = samples.images.detach()
        self._highest = x.clone()
        self._value = x.new_full((len(x),), -math.inf)
        self._last = x.clone()
        self._confirmed = x.clone()
        self._broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._refused = x.new_full((len(x),), -math.inf)
        self._doubted = x.clone()
        self._doubt = x.new_full((len(x),), -math.inf)
        self.observed = 0

    def active(self) -> Int[Tensor, " active"]:
        """The rows that no iterate has broken yet, once what is in doubt has been asked about."""
        self._confirm()
        return (~self._broken).nonzero()[:, 0]

    def observe(
        self,
        index: Int[Tensor, " n"],
        x: Float[Tensor, "n *image"],
        value: Float[Tensor, " n"],
        logits: Float[Tensor, "n classes"],
    ) -> None:
        """Enter the iterates x of the rows `index`, and what was seen there."""
        value = value.detach().to(self._value)
        better = value > self._value[index]
        self._value[index[better]] = value[better]
        self._highest[index[better]] = x[better].detach()
        self._last[index] = x.detach()
        self._doubt_rows(index, x.detach(), logits.detach())
        self.observed += 1
        if self.observed % self._approach.confirm_every == 0:
            self._confirm()

    def left(self, index: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which of the rows `index` to go on with."""
        return ~self._broken[index]

    def candidates(self) -> Float[Tensor, "3 batch *image"]:
        """What the judge is shown: confirmed (else highest objective), highest objective, last."""
        self._confirm()
        broken = self._broken.reshape(-1, *[1] * (self._last.ndim - 1))
        first = torch.where(broken, self._confirmed, self._highest)
        return torch.stack([first, self._highest, self._last])

    def _doubt_rows(self, index: Tensor, x: Tensor, logits: Tensor) -> None:
        # What is no answer is lost by any margin: the judge takes such a row for broken.
        answer, y = labels(logits), self._samples.labels[index]
        margins = (-margin(logits, y)).masked_fill(answer == -1, math.inf).to(self._doubt)
        higher = (answer != y) & (margins > self._doubt[index])
        self._doubt[index[higher]] = margins[higher]
        self._doubted[index[higher]] = x[higher]

    def _confirm(self) -> None:
        asked = (~self._broken & (self._doubt > self._refused)).nonzero()[:, 0]
        if not len(asked):
            return
        x = self._doubted[asked]
        fooled = self._approach.confirm(self._samples.select(asked).moved(x))
        self._broken[asked] = fooled
        self._confirmed[asked[fooled]] = x[fooled]
        self._refused[asked] = self._doubt[asked]
