"""The mean over a defense's own draws."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.surface import Cost, Reading, Surface
from robustdeq.surrogates.base import Sources, Surrogate
from robustdeq.surrogates.defended import Defended


@dataclass(frozen=True)
class Expectation(Surrogate):
    """The mean objective and gradient over fresh draws at every visit (expectation over
    transformation; Athalye, Engstrom, Ilyas and Kwok 2018, "Synthesizing robust adversarial
    examples", equation 2).

    A row is confirmed only if the deployed predictor is fooled on every one of as many draws, so
    that an attack does not stop at the first lucky one.

    Attributes:
        inner: the view of one draw.
        draws: per visit.
    """

    inner: Surrogate = field(default_factory=Defended)
    draws: int = 8

    def __post_init__(self):
        if self.draws < 1:
            raise SpecError(f"draws {self.draws}; expected at least 1")

    def applies(self, target: DefendedModel) -> str | None:
        return self.inner.applies(target)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        surface = _Expected(self, target, noise, sources)
        return Approach(surface, surface.fooled)


class _Expected(Surface):
    """The mean of surfaces that are bound afresh for every visit, each to draws of its own."""

    def __init__(
        self, view: Expectation, target: DefendedModel, noise: NoiseStream, sources: Sources
    ):
        self._view, self._target, self._noise, self._sources = view, target, noise, sources
        self.cost, self._visits = Cost(), 0
        self.logits_form = view.inner.bind(target, noise, sources).surface.logits_form

    def view(self, x: Tensor, rows: Tensor | None, needs: frozenset[str]) -> View:
        seen = self._each(lambda each: each.surface.view(x, rows, needs).logits)
        return View(torch.stack(seen).mean(0))

    def value(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        return _mean(self._each(lambda each: each.surface.value(samples, objective, target)))

    def raw_value_and_grad(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        return _mean(
            self._each(lambda each: each.surface.value_and_grad(samples, objective, target))
        )

    def differentiable_logits(self, x: Tensor) -> Tensor:
        return torch.stack(self._each(lambda each: each.surface.differentiable_logits(x))).mean(0)

    def fooled(self, samples: Samples) -> Tensor:
        """Is the deployed predictor fooled on every draw of one visit?"""
        return torch.stack(self._each(lambda each: each.confirm(samples))).all(0)

    def _each(self, look: Callable[[Approach], Any]) -> list[Any]:
        """What a look gives on every draw of one visit, its cost booked here."""
        self._visits += 1
        found = []
        for draw in range(self._view.draws):
            noise = self._noise.child("visit", self._visits, draw)
            approach = self._view.inner.bind(self._target, noise, self._sources)
            found.append(look(approach))
            self.cost.book(approach.surface.cost)
        return found


def _mean(readings: list[Reading]) -> Reading:
    gradients = [reading.gradient for reading in readings if reading.gradient is not None]
    return Reading(
        torch.stack([reading.value for reading in readings]).mean(0),
        torch.stack([reading.logits for reading in readings]).mean(0),
        torch.stack(gradients).mean(0) if gradients else None,
    )
