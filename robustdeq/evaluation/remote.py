"""Asking a model wherever it lives: in this process, or in one of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation
from robustdeq.models.base import Prediction
from robustdeq.noise import NoiseStream, SealedNoise

Answer = TypeVar("Answer")


class RemoteModel(ABC):
    """A model in another process, whose code this process has never loaded.

    What comes back is data and no code, and may be a lie: an answer is checked for its form, and
    whoever reads anything else than answers knows that the model's own process has computed it.
    """

    @abstractmethod
    def asked(self, question: Callable[..., Answer], *arguments: Any) -> Answer:
        """What a function of the package says of the model, computed where the model is."""

    @abstractmethod
    def derived(self, change: Callable[..., DefendedModel], *arguments: Any) -> "RemoteModel":
        """The model that a function of the package makes of this one; it stays where it is."""

    def predict(
        self,
        x: Float[Tensor, "batch *image"],
        rows: Int[Tensor, " batch"],
        noise: NoiseStream,
    ) -> Prediction:
        """The deployed answer, cold. The model's process gets pixels and secret words alone.

        Raises:
            ContractViolation: what it answers is no prediction of these images.
        """
        found = self.asked(deployed_answer, x, noise.sealed(rows))
        _require_prediction(found, len(x))
        return found


Model = DefendedModel | RemoteModel
Same = TypeVar("Same", bound=Model)


def ask(model: Model, question: Callable[..., Answer], *arguments: Any) -> Answer:
    """What a function (model, *arguments) of the package says of a model: computed where it is."""
    if isinstance(model, RemoteModel):
        return model.asked(question, *arguments)
    return question(model, *arguments)


def derived(model: Same, change: Callable[..., DefendedModel], *arguments: Any) -> Same:
    """The model that a function of the package makes of another one, where that one is."""
    if isinstance(model, RemoteModel):
        return cast(Same, model.derived(change, *arguments))
    return cast(Same, change(model, *arguments))


def deployed_answer(model: DefendedModel, x: Tensor, noise: SealedNoise) -> Prediction:
    """The deployed answer to images under draws that are keyed already."""
    with torch.no_grad():
        return model.defense.infer(model, x, noise)


def _require_prediction(found: Any, count: int) -> None:
    """Refuse what could be no answer to so many images."""
    if not isinstance(found, Prediction):
        raise ContractViolation(
            f"a model answered with a {type(found).__name__}; expected a Prediction"
        )
    parts = found.logits, found.nfe, found.residual, found.converged
    if not all(isinstance(part, Tensor) and len(part) == count for part in parts):
        raise ContractViolation(
            f"a model answered {count} images with a prediction of other length; expected one row "
            f"of logits, nfe, residual and converged for each image"
        )
    if found.logits.ndim != 2 or not found.logits.is_floating_point():
        raise ContractViolation(
            f"a model answered with {found.logits.dtype} logits of shape "
            f"{tuple(found.logits.shape)}; expected floating point, (B, classes)"
        )
