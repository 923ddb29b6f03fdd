"""Labelled images that know their places in the slice they are from."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.errors import DataError


@dataclass(frozen=True, eq=False)
class Samples:
    """Images, labels and positions, which travel together.

    A position is a sample's place in its data slice. It keys random draws and what is remembered
    of the sample, so a sample keeps it wherever it goes.

    Attributes:
        images: (N, *image).
        labels: (N,) whole numbers, or (N, height, width), one a pixel: nothing here reads them.
        positions: (N,) whole numbers.

    Raises:
        DataError: there are not as many of each.
    """

    images: Tensor  # counts are checked below: a wrong one is a user's mistake, not a type error
    labels: Tensor
    positions: Tensor

    def __post_init__(self):
        counts = [len(each) for each in (self.images, self.labels, self.positions)]
        if len(set(counts)) > 1:
            raise DataError(
                f"{counts[0]} images, {counts[1]} labels and {counts[2]} positions; expected one "
                f"label and one position for each image"
            )

    @classmethod
    def of(cls, images: Float[Tensor, "n *image"], labels: Int[Tensor, "m *label"]) -> "Samples":
        """A whole slice: its positions count from 0."""
        return cls(images, labels, torch.arange(len(images), device=images.device))

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Samples":
        """Those at some places here, or those where a mask holds."""
        return Samples(self.images[index], self.labels[index], self.positions[index])

    def first(self, n: int) -> "Samples":
        """The first n, or all there are."""
        return Samples(self.images[:n], self.labels[:n], self.positions[:n])

    def split(self, size: int) -> "Iterator[Samples]":
        """Batches of at most `size`, in order; one empty batch where there is nothing."""
        parts = (each.split(size) for each in (self.images, self.labels, self.positions))
        return (Samples(*part) for part in zip(*parts, strict=True))

    def moved(self, images: Float[Tensor, "n *image"]) -> "Samples":
        """The same samples with other images: what an attack made of them."""
        return Samples(images, self.labels, self.positions)

    def copy(self) -> "Samples":
        """The same, in memory and graphs of their own."""
        return Samples(self.images.detach().clone(), self.labels.clone(), self.positions.clone())

    def to(self, device: torch.device) -> "Samples":
        """The same on a device."""
        parts = (each.to(device) for each in (self.images, self.labels, self.positions))
        return Samples(*parts)
