"""The contract of a surrogate."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel, overrides
from robustdeq.models.base import Prediction
from robustdeq.models.surface import Deployed, Prepare, unchanged
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.surface import Surface


class Surrogate(Plugin, ABC):
    """What the attacker differentiates instead of, or as, the defended path."""

    kind: ClassVar[str] = "surrogates"

    @abstractmethod
    def bind(self, target: DefendedModel, noise: NoiseStream) -> Surface:
        """A fresh surface, with no memory of any row; `noise` keys the defence's own draws."""

    @abstractmethod
    def applies(self, target: DefendedModel) -> str | None:
        """None, or the reason why this view of the target does not exist."""


def deployed(target: DefendedModel, noise: NoiseStream) -> Deployed:
    """The deployed predictor, for confirmations; its draws are never the judge's."""
    stream = noise.child("confirm")

    def predict(x: Tensor, rows: Tensor | None) -> Prediction:
        return target.predict(x, positions(x, rows), stream)

    return predict


def straight_through(target: DefendedModel, noise: NoiseStream) -> Prepare:
    """The defence's own `transform`, with the identity as its derivative (Athalye et al. 2018)."""
    if not overrides(target.defense, "transform"):
        return unchanged
    stream = noise.child("transform")

    def prepare(x: Tensor, rows: Tensor | None) -> Tensor:
        with torch.no_grad():
            transformed = target.defense.transform(target, x, stream.at(positions(x, rows)))
        return transformed + (x - x.detach())

    return prepare


def positions(x: Tensor, rows: Tensor | None) -> Tensor:
    """The samples' positions; library attacks cannot name them, so theirs count from 0."""
    return torch.arange(len(x), device=x.device) if rows is None else rows
