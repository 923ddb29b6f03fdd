"""A stateful target, asked cold.

What a defense remembers makes it another predictor after every history, and an evaluator sets the
history without meaning to: a judge that was asked the clean images first may give their answers to
everything near them, and an attack may see a function that stands still around its first question.
A copy that nobody has asked yet is one function, the one that a first comer meets; that is what is
attacked and judged.
"""

from collections.abc import Container
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from robustdeq.defenses.base import Card, DefendedModel, Sign, Stage, Wrapper
from robustdeq.defenses.inference import ANSWERS, Inference
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.remote import Same, derived
from robustdeq.models.base import Prediction
from robustdeq.noise import RowNoise


@dataclass(frozen=True)
class Forgetful(Wrapper):
    """Hands every question to a copy of the chain and its network, which is then thrown away.

    Raises:
        ContractViolation: when asked, if it holds what cannot be copied.
    """

    stage: ClassVar[Stage] = "inference"
    # The network itself may remember, so that it is never asked behind the copies' back.
    inference: ClassVar[Inference] = ANSWERS
    card: ClassVar[Card] = Card("A stateful defense, asked cold", "of this harness")

    def transform(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        cold = self._copy(target)
        return cold.defense.transform(cold, x, noise)

    def infer(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Prediction:
        cold = self._copy(target)
        return cold.defense.infer(cold, x, noise)

    def relaxed(self, target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
        cold = self._copy(target)
        return cold.defense.relaxed(cold, x, noise)

    def unrolled(
        self, target: DefendedModel, x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> Tensor:
        cold = self._copy(target)
        return cold.defense.unrolled(cold, x, noise, last, sign)

    def _copy(self, target: DefendedModel) -> DefendedModel:
        try:
            return deepcopy(replace(target, defense=self.base))
        except (TypeError, RuntimeError) as error:
            raise ContractViolation(
                f"{self.base.chain} remembers earlier questions and cannot be copied ({error}), "
                f"which asking it cold would need; keep nothing between calls, or hold only what "
                f"copy.deepcopy copies"
            ) from error


def cold(target: Same, flags: Container[str]) -> Same:
    """The target, which forgets every question if it was seen to be `stateful`.

    Args:
        target: nobody has asked it anything yet.
        flags: what the checks of another copy have raised.
    """
    return derived(target, forgetful) if "stateful" in flags else target


def forgetful(target: DefendedModel) -> DefendedModel:
    """The target, asked cold every time."""
    return replace(target, defense=Forgetful(target.defense))
