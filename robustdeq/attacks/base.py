"""The contract of an attack."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.surface import Surface
from robustdeq.threats.base import ThreatModel


class Attack(Plugin, ABC):
    """A search for adversarial inputs on a surface.

    An attack knows no model and judges nothing: it returns up to three candidates a row, best
    first, and the judge decides. `needs_logits_form` is set by library adapters, which can only
    attack a plain function from images to logits; `needs_gradient` is unset by searches that read
    answers alone.
    """

    kind: ClassVar[str] = "attacks"
    needs_logits_form: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True

    @abstractmethod
    def perturb(
        self,
        surface: Surface,
        x: Float[Tensor, "batch *image"],
        y: Int[Tensor, " batch"],
        rows: Int[Tensor, " batch"],
        threat: ThreatModel,
        noise: NoiseStream,
    ) -> Float[Tensor, "candidates batch *image"]:
        """Candidates (K, B, *image) with 1 <= K <= 3, all inside the threat set.

        `rows` keys both the surface's per-row state and every random draw, so that a row's
        search does not depend on its batch.
        """
