"""What an impostor is, and the two disguises a trick can wear."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Defense, Stage, Task, Wrapper
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.models.base import Classifier, Deployment, Prediction
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream, RowNoise

# (the twin's network, x (B, *image), the defense's draws) -> logits (B, classes), in x's graph as
# the trick's author wants it to be differentiated. Without gradients it is what is deployed.
Answer = Callable[[Classifier, Tensor, RowNoise], Tensor]
Disguise = Callable[[DefendedModel], DefendedModel]  # the honest twin -> the impostor


@dataclass(frozen=True)
class Form:
    """One shape in which a trick is shipped.

    Attributes:
        name: "wrapped" around the twin, or "alone": one network with the twin hidden inside it.
        flag: the one it must raise, from the list in `robustdeq.results.flags`.
    """

    name: str
    flag: str
    make: Disguise


@dataclass(frozen=True)
class Impostor:
    """A defense that looks robust and is not.

    Attributes:
        hides: what an evaluator who trusts its gradient does not see.
        keeps_labels: whether every judged label is the twin's, so that nothing is defended.
        random: whether its answers are drawn; its accuracy is then an expectation over draws.
        deceives: whether it looks robust to plain PGD through its own gradient. The others do so
            to single draws, single batches or the equilibrium's gradient only on other networks.
    """

    name: str
    hides: str
    keeps_labels: bool
    forms: tuple[Form, ...]
    random: bool = False
    deceives: bool = True


@dataclass(frozen=True)
class Dressed(Wrapper):
    """An inference defense that answers by a trick, and says nothing of any solver."""

    stage: ClassVar[Stage] = "inference"
    card: ClassVar[Card] = Card("An impostor", "made up to be caught")
    answer: Answer

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        return without_account(self.answer(target.classifier, x, noise))

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        return self.answer(target.classifier, x, noise)


class Sealed(Classifier):
    """One network that answers by a trick; what it has inside is nobody's business."""

    def __init__(self, inside: Classifier, answer: Answer):
        super().__init__()
        self._inside, self._answer = inside, answer

    def forward(self, x: Tensor) -> Tensor:
        draws = NoiseStream(0).sealed(torch.arange(len(x), device=x.device))
        return self._answer(self._inside, x, draws)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Prediction:
        return without_account(self(x))

    def deployment(self) -> Deployment:
        return Deployment()


@dataclass(frozen=True)
class Lone(Defense):
    """A network without a base that hides the twin's: the harness finds no solver in it."""

    card: ClassVar[Card] = Card("An impostor", "made up to be caught")
    answer: Answer

    def build(self, task: Task) -> Classifier:
        return Sealed(Vanilla().build(task), self.answer)


def wrapped(answer: Answer) -> Disguise:
    """A trick as an inference defense around the twin."""
    return lambda twin: DefendedModel(Dressed(twin.defense, answer), twin.classifier, {})


def alone(answer: Answer) -> Disguise:
    """A trick as one network with the twin's inside."""
    return lambda twin: DefendedModel(Lone(answer), Sealed(twin.classifier, answer), {})


def both(answer: Answer, flag: str) -> tuple[Form, ...]:
    """The two forms of a trick that raise the same flag."""
    return Form("wrapped", flag, wrapped(answer)), Form("alone", flag, alone(answer))


def network_of(twin: DefendedModel) -> EquilibriumNetwork:
    """The twin's equilibrium network."""
    assert isinstance(twin.classifier, EquilibriumNetwork)
    return twin.classifier


def honest(network: Classifier, x: Tensor, noise: RowNoise) -> Float[Tensor, "batch classes"]:
    """The network's own answer."""
    return network(x)


def without_account(logits: Float[Tensor, "batch classes"]) -> Prediction:
    """Logits as a network without an equilibrium would report them."""
    ones = torch.ones(len(logits), dtype=torch.int64, device=logits.device)
    return Prediction(logits, ones, torch.zeros_like(logits[:, 0]), ones.bool())
