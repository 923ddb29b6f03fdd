"""A weight-tied network that wears another sparse mask at every application."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from robustdeq.defenses.base import Card, Defense, Task
from robustdeq.errors import SpecError
from robustdeq.models.cells import TanhCell, normalised_injection, pooled_head
from robustdeq.models.explicit import ExplicitClassifier
from robustdeq.models.masked import Mask, MaskedStack, draw_mask
from robustdeq.noise import NoiseStream


@dataclass(frozen=True)
class SparseWeightTied(Defense):
    """z_{l+1} = f(z_l; x, M_l * W), l = 0 ... L - 1: one stored W, one static mask per application.

    Distinct masks turn one function that is repeated into L different ones at no stored parameter;
    `masks` = "shared", the same mask at every application, only removes capacity and is the
    control. The paper's sparsities, recipe and tables could not be read. Masks are drawn as in the
    same authors' later code for the same idea (CapaBoost, ICLR 2024): static, uniform per tensor,
    an exact count without replacement, density 0.5, weights alone. Depth, width and the scaling of
    the initial weights by 1 / sqrt(density), which keeps the variance of what they feed, are ours.

    `results/reports/capacity.md` compares distinct masks with a shared one and with none.

    There is no equilibrium and hence no state column: the row is attacked as the explicit network
    that it is. One evaluation is one pass through all L applications.

    Attributes:
        density: share of each weight tensor that a mask keeps.
        masks: "distinct" for every application, or one "shared" by all.
        mask_seed: of the masks alone; the training seed draws the weights.
    """

    card: ClassVar[Card] = Card(
        title="Revisiting Implicit Models: Sparsity Trade-offs Capability in Weight-tied Model for "
        "Vision Tasks",
        citation="Song, Majumder, Lin, ICML 2023",
        equation="distinct sparse masks per application",
    )
    channels: int = 32
    depth: int = 8
    density: float = 0.5
    masks: Literal["distinct", "shared"] = "distinct"
    mask_seed: int = 0

    def __post_init__(self):
        if self.channels < 1 or self.depth < 1:
            raise SpecError(
                f"sparse-weight-tied: channels {self.channels}, depth {self.depth}; expected at "
                f"least 1"
            )
        if not 0 < self.density <= 1:
            raise SpecError(
                f"sparse-weight-tied: density {self.density} is outside (0, 1]; it is the share of "
                f"weights that a mask keeps"
            )

    def build(self, task: Task) -> ExplicitClassifier:
        in_channels, height, width = task.shape
        return ExplicitClassifier(
            normalised_injection(in_channels, self.channels),
            self.stack(),
            pooled_head(self.channels, height, width, task.classes),
        )

    def stack(self) -> MaskedStack:
        """The body: a fresh cell, its initial weights scaled, under the masks of `mask_seed`."""
        cell, noise = TanhCell(self.channels), NoiseStream(self.mask_seed).child("masks")
        weights = (cell.inner.weight, cell.outer.weight)
        with torch.no_grad():
            for weight in weights:
                weight /= self.density**0.5
        numbers = range(self.depth) if self.masks == "distinct" else [0] * self.depth

        def mask(number: int, layer: int) -> Mask:
            shape = tuple(weights[layer].shape)
            return draw_mask(shape, self.density, noise.child(number, layer))

        return MaskedStack(cell, self.depth, [(mask(n, 0), mask(n, 1)) for n in numbers])
