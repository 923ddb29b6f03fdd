"""A defended model as features and a binary read-out of them that a test may choose."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robustdeq.defenses.base import Card, DefendedModel, Stage, Wrapper
from robustdeq.defenses.inference import ANSWERS, Inference
from robustdeq.models.base import Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream, RowNoise


class Features(ABC):
    """What a defended model computes of an image, up to a linear read-out."""

    @abstractmethod
    def of(
        self, x: Float[Tensor, "batch *image"], rows: Int[Tensor, " batch"], noise: NoiseStream
    ) -> Float[Tensor, "batch dim"]:
        """The deployed features, without a graph."""

    @abstractmethod
    def read(self, weight: Float[Tensor, " dim"], bias: float) -> DefendedModel:
        """The same defended path with logits (0, features @ weight + bias): two classes."""


@dataclass(frozen=True)
class States(Features):
    """The equilibrium z* of a network whose defense answers by one solve."""

    target: DefendedModel
    model: EquilibriumNetwork

    @torch.no_grad()
    def of(self, x: Tensor, rows: Tensor, noise: NoiseStream) -> Tensor:
        prepared = self.target.transformed(x, noise.sealed(rows))
        return self.model.features(self.model.solve(prepared).z)

    def read(self, weight: Tensor, bias: float) -> DefendedModel:
        return replace(self.target, classifier=_read_by(_BinaryHead(weight, bias), self.model))


@dataclass(frozen=True)
class Logits(Features):
    """The logits of any other target: of a network without an equilibrium, or an own `infer`."""

    target: DefendedModel

    def of(self, x: Tensor, rows: Tensor, noise: NoiseStream) -> Tensor:
        return self.target.predict(x, rows, noise).logits

    def read(self, weight: Tensor, bias: float) -> DefendedModel:
        binary = Binary(self.target.defense, self.target, _BinaryHead(weight, bias))
        return replace(self.target, defense=binary)


def features(target: DefendedModel) -> Features:
    """The equilibrium where there is one, else the logits."""
    answers = target.defense.at_inference.answers
    if isinstance(target.classifier, EquilibriumNetwork) and not answers:
        return States(target, target.classifier)
    return Logits(target)


def _read_by(head: nn.Module, model: EquilibriumNetwork) -> EquilibriumNetwork:
    """The same network, whose features are read by another head."""
    kind = type(model)

    class Reread(kind):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
        def readout(self, z: Tensor) -> Tensor:
            return self.get_submodule("binary_head")(self.features(z))

    other = model.replaced()
    other.__class__ = Reread
    other.binary_head = head
    return other


class _BinaryHead(nn.Module):
    """(B, D) -> (0, features @ weight + bias)."""

    weight: Tensor

    def __init__(self, weight: Tensor, bias: float):
        super().__init__()
        self.register_buffer("weight", weight)
        self.bias = bias

    def forward(self, features: Tensor) -> Tensor:
        score = features @ self.weight + self.bias
        return torch.stack([torch.zeros_like(score), score], dim=1)


@dataclass(frozen=True, eq=False)
class Binary(Wrapper):
    """A target's own inference, its logits read by another head.

    The target is asked whole, not as a `base`, so that its hooks find each other and not this one.
    """

    card: ClassVar[Card] = Card("Binary read-out of the logits", "a test, no defense")
    stage: ClassVar[Stage] = "inference"
    inference: ClassVar[Inference] = ANSWERS
    target: DefendedModel
    head: nn.Module

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        answer = self.target.defense.infer(self._whole(target), x, noise)
        return replace(answer, logits=self.head(answer.logits))

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return self.head(self.target.defense.relaxed(self._whole(target), x, noise))

    def _whole(self, target: DefendedModel) -> DefendedModel:
        """The target on the network that is asked, which may differentiate or count otherwise."""
        return replace(self.target, classifier=target.classifier)
