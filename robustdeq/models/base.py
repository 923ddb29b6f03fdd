"""What every classifier answers, whatever is inside."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from robustdeq import answers


@dataclass(frozen=True)
class Prediction:
    """A batch of answers, with the solver's account of each row.

    Networks without an equilibrium report one evaluation, residual 0 and converged.
    """

    logits: Float[Tensor, "batch classes"]
    nfe: Int[Tensor, " batch"]
    residual: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]

    @property
    def labels(self) -> Int[Tensor, " batch"]:
        """The predicted class; -1 where there is no answer (`robustdeq.answers`)."""
        return answers.labels(self.logits)


@dataclass(frozen=True)
class Deployment:
    """How the network answers: solver, tolerance and step budget T; None without a solver."""

    solver: str | None = None
    tolerance: float | None = None
    budget: int | None = None


@dataclass(frozen=True)
class Task:
    """What a network is built for: the image shape (channels, height, width) and the classes."""

    shape: tuple[int, int, int]
    classes: int


def parameter_count(network: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


class Classifier(nn.Module, ABC):
    """A network from images (B, C, H, W) in [0, 1] to logits (B, classes).

    Normalisation is part of the network. Nothing here reads `.training`, keeps state between
    calls, or mixes rows.

    Attributes:
        task: what it was built for, where whoever built it says so.
    """

    task: Task | None = None

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch *image"]) -> Float[Tensor, "batch classes"]:
        """Logits in the autograd graph."""

    @abstractmethod
    def predict(self, x: Float[Tensor, "batch *image"]) -> Prediction:
        """The deployed answer, cold, without gradients."""

    @abstractmethod
    def deployment(self) -> Deployment:
        """What this network promises of its solver."""
