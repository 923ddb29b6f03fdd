"""The contract of a surrogate."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.readouts import transformed
from robustdeq.models.base import Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.models.surface import Deployed, Prepare, unchanged
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective, View
from robustdeq.registry import Plugin
from robustdeq.surface import Reading, Surface
from robustdeq.threats.base import ThreatModel

Sources = tuple[DefendedModel, ...]


class Surrogate(Plugin, ABC):
    """What the attacker differentiates instead of, or as, the defended path."""

    kind: ClassVar[str] = "surrogates"

    @property
    def needs_sources(self) -> int:
        """How many of a column's `sources` the view reaches into."""
        return 0

    @abstractmethod
    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        """A fresh surface, with no memory of any row.

        Args:
            noise: keys the defence's own draws.
            sources: the column's other networks, in its order.
        """

    @abstractmethod
    def applies(self, target: DefendedModel) -> str | None:
        """None, or the reason why this view of the target does not exist."""


class StateSurrogate(Surrogate):
    """A view of the states of the equilibrium network behind a defence.

    What inference does to its input is passed straight through; where inference has a path of its
    own, the gradient is the network's all the same, and the deployed answer confirms.
    """

    @property
    def deepest(self) -> int:
        """The last state that is read by its number."""
        return 0

    def applies(self, target: DefendedModel) -> str | None:
        return needs_state(target, self.deepest)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        judge, prepare = deployed(target, noise), straight_through(target, noise)
        return self.surface(network_behind(target), judge, prepare)

    @abstractmethod
    def surface(self, model: EquilibriumNetwork, judge: Deployed, prepare: Prepare) -> Surface:
        """A fresh surface on a network; `prepare` is applied to its input, `judge` confirms."""


def deployed(target: DefendedModel, noise: NoiseStream) -> Deployed:
    """The deployed predictor, for confirmations; its draws are never the judge's."""
    stream = noise.child("confirm")

    def predict(x: Tensor, rows: Tensor | None) -> Prediction:
        return target.predict(x, positions(x, rows), stream)

    return predict


def network_behind(target: DefendedModel) -> EquilibriumNetwork:
    """The equilibrium network behind a defence; `needs_equilibrium` has to have found nothing."""
    assert isinstance(target.classifier, EquilibriumNetwork)
    return target.classifier


def needs_equilibrium(target: DefendedModel) -> str | None:
    """The reason why no view of states exists, if none does."""
    if isinstance(target.classifier, EquilibriumNetwork):
        return None
    return f"{target.defense.chain} shows no equilibrium, so it has no states to attack"


def needs_state(target: DefendedModel, state: int) -> str | None:
    """The reason why there is no such state, if there is none."""
    if (reason := needs_equilibrium(target)) is not None:
        return reason
    budget = network_behind(target).solver.max_steps
    if state <= budget:
        return None
    return (
        f"state {state} lies past the {budget} steps of the deployed solver; choose 1 to {budget}"
    )


class Elsewhere(Surface):
    """A surface whose successes another one confirms, or nobody.

    Args:
        attacked: what is climbed.
        confirming: whose deployed predictor is asked. None confirms nothing, so that an attack
            spends its whole budget on every row.
    """

    def __init__(self, attacked: Surface, confirming: Surface | None):
        self._attacked, self._confirming = attacked, confirming
        self.cost, self.logits_form = attacked.cost, attacked.logits_form
        self.confirm_every = attacked.confirm_every

    def view(self, x: Tensor, rows: Tensor | None, needs: frozenset[str]) -> View:
        return self._attacked.view(x, rows, needs)

    def value(
        self, x: Tensor, y: Tensor, objective: Objective, rows: Tensor | None,
        target: Tensor | None = None,
    ) -> Reading:  # fmt: skip
        return self._attacked.value(x, y, objective, rows, target)

    def raw_value_and_grad(
        self, x: Tensor, y: Tensor, objective: Objective, rows: Tensor | None,
        target: Tensor | None = None,
    ) -> Reading:  # fmt: skip
        return self._attacked.raw_value_and_grad(x, y, objective, rows, target)

    def differentiable_logits(self, x: Tensor) -> Tensor:
        return self._attacked.differentiable_logits(x)

    def start(
        self, x: Tensor, y: Tensor, rows: Tensor, threat: ThreatModel, noise: NoiseStream,
        draw: int = 0,
    ) -> Tensor:  # fmt: skip
        return self._attacked.start(x, y, rows, threat, noise, draw)

    def confirm(self, x: Tensor, y: Tensor, rows: Tensor | None) -> Tensor:
        if self._confirming is None:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return self._confirming.confirm(x, y, rows)


def straight_through(target: DefendedModel, noise: NoiseStream) -> Prepare:
    """The defence's own `transform`, with the identity as its derivative (Athalye et al. 2018)."""
    if not target.defense.at_inference.rewrites:
        return unchanged
    stream = noise.child("transform")

    def prepare(x: Tensor, rows: Tensor | None) -> Tensor:
        return transformed(target, x, stream.sealed(positions(x, rows)))

    return prepare


def positions(x: Tensor, rows: Tensor | None) -> Tensor:
    """The samples' positions; library attacks cannot name them, so theirs count from 0."""
    return torch.arange(len(x), device=x.device) if rows is None else rows
