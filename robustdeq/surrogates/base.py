"""The contract of a surrogate."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.readouts import transformed
from robustdeq.models.base import Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare, unchanged

Sources = tuple[DefendedModel, ...]


@runtime_checkable
class Predictor(Protocol):
    """Whatever gives the deployed answer: a model, wherever it lives."""

    def predict(self, x: Tensor, rows: Tensor, noise: NoiseStream) -> Prediction:
        """As `DefendedModel.predict`."""
        ...


class Surrogate(Plugin, ABC):
    """What the attacker differentiates instead of, or as, the defended path."""

    kind: ClassVar[str] = "surrogates"

    @property
    def needs_sources(self) -> int:
        """How many of a column's `sources` the view reaches into."""
        return 0

    @abstractmethod
    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        """A fresh surface, with no memory of any row, and who confirms what is found there.

        Args:
            noise: keys the defense's own draws.
            sources: the column's other networks, in its order.
        """

    @abstractmethod
    def applies(self, target: DefendedModel) -> str | None:
        """None, or the reason why this view of the target does not exist."""


class StateSurrogate(Surrogate):
    """A view of the states of the equilibrium network behind a defense.

    What inference does to its input is passed straight through; where inference has a path of its
    own, the gradient is the network's all the same, and the deployed answer confirms.
    """

    @property
    def deepest(self) -> int:
        """The last state that is read by its number."""
        return 0

    def applies(self, target: DefendedModel) -> str | None:
        return needs_state(target, self.deepest)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        surface = self.surface(network_behind(target), straight_through(target, noise))
        return confirmed(surface, target, noise)

    @abstractmethod
    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        """A fresh surface on a network; `prepare` is applied to its input."""


def confirmed(
    surface: Surface, target: Predictor, noise: NoiseStream, confirm_every: int = 1
) -> Approach:
    """A surface whose successes the deployed predictor confirms, at the surface's expense."""
    stream = noise.child("confirm")

    def fooled(samples: Samples) -> Bool[Tensor, " n"]:
        prediction = target.predict(samples.images, samples.positions, stream)
        surface.cost.add(calls=len(samples), forward=int(prediction.nfe.sum()))
        return prediction.labels != samples.labels

    return Approach(surface, fooled, confirm_every=confirm_every)


def network_behind(target: DefendedModel) -> EquilibriumNetwork:
    """The equilibrium network behind a defense; `needs_equilibrium` has to have found nothing."""
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


def straight_through(target: DefendedModel, noise: NoiseStream) -> Prepare:
    """The defense's own `transform`, with the identity as its derivative (Athalye et al. 2018)."""
    if not target.defense.at_inference.rewrites:
        return unchanged
    stream = noise.child("transform")

    def prepare(x: Tensor, rows: Tensor | None) -> Tensor:
        return transformed(target, x, stream.sealed(positions(x, rows)))

    return prepare


def positions(x: Tensor, rows: Tensor | None) -> Tensor:
    """The samples' positions; library attacks cannot name them, so theirs count from 0."""
    return torch.arange(len(x), device=x.device) if rows is None else rows
