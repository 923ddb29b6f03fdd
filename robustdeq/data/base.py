"""The contract of a data source, and the checked images it gives."""

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Integer, UInt8, UInt16
from torch import Tensor

from robustdeq.data.checks import (
    check_labels,
    check_layout,
    check_pixels,
    check_variety,
    repeated,
    unlearned,
)
from robustdeq.errors import DataError
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.samples import Samples


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W), float32 in [0, 1], and their labels (N,), int64.

    Raises:
        DataError: no images, another shape or type, a pixel that is NaN or outside [0, 1], a
            negative label, or another number of labels than images.
    """

    images: Tensor  # shapes are checked below: a wrong one is a user's mistake, not a type error
    labels: Tensor

    def __post_init__(self):
        check_layout(self.images, self.labels)
        check_pixels(self.images)
        check_labels(self.labels, None)

    @classmethod
    def from_bytes(
        cls,
        images: UInt8[np.ndarray, "n channels height width"]
        | UInt16[np.ndarray, "n channels height width"],
        labels: Integer[np.ndarray, " labels"],
        white: int = 255,
    ) -> "Split":
        """Pixels are stored value / `white`, rounded once to float32."""
        return cls(
            torch.from_numpy(images).to(torch.float32).div_(white),
            torch.from_numpy(labels.astype(np.int64)),
        )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, n: int) -> "Split":
        """The first n images; `n` from 1 to the number there is."""
        if not 1 <= n <= len(self):
            raise DataError(f"asked for the first {n} of {len(self)} images; give 1 to {len(self)}")
        return Split(self.images[:n], self.labels[:n])

    def samples(self) -> Samples:
        """All of it, each image at its position in this split."""
        return Samples.of(self.images, self.labels)

    def to(self, device: torch.device) -> "Split":
        """The same images and labels on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def digest(self) -> str:
        """Hex SHA-256 of the shape, the pixels (little-endian float32) and the labels (int64)."""
        sha = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        sha.update(np.ascontiguousarray(self.images.cpu().numpy(), dtype="<f4").data)
        sha.update(np.ascontiguousarray(self.labels.cpu().numpy(), dtype="<i8").data)
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class DataSet:
    """One task: images to learn from, to stop and calibrate on, and to be judged on.

    `held_out` is always a part of the *training* images and disjoint from `train`; `test` is the
    published test split, untouched.

    Attributes:
        notes: sentences that whoever uses these images has to know.

    Raises:
        DataError: the three differ in image shape, a label is not below `classes`, or there is one
            class only.
    """

    train: Split
    held_out: Split
    test: Split
    classes: int
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        for name, split in (("held_out", self.held_out), ("test", self.test)):
            if split.images.shape[1:] != self.shape:
                raise DataError(
                    f"{name} images are {tuple(split.images.shape[1:])}, train images "
                    f"{self.shape}; all splits need one (channels, height, width)"
                )
        for split in (self.train, self.held_out, self.test):
            check_labels(split.labels, self.classes)
        check_variety(self.test.labels, "test")

    def to(self, device: torch.device) -> "DataSet":
        """The same on a device."""
        splits = (split.to(device) for split in (self.train, self.held_out, self.test))
        return DataSet(*splits, classes=self.classes, notes=self.notes)

    def examined(self) -> "DataSet":
        """The same, with notes on test images that training has seen, or nothing like them.

        Raises:
            DataError: most test images are training images.
        """
        learned = [repeated(self.test.images, part.images) for part in (self.train, self.held_out)]
        count, n = int((learned[0] | learned[1]).sum()), len(self.test)
        if 2 * count > n:
            raise DataError(
                f"{count} of {n} test images are training images, too; expected images that no "
                f"training has seen: give a test split of its own"
            )
        notes = [f"{count} of {n} test images are training images, too"] if count else []
        if missing := unlearned(self.train.labels, self.test.labels):
            named = ", ".join(map(str, missing))
            notes.append(f"no training image has class {named}, of which there are test images")
        return replace(self, notes=(*self.notes, *notes))

    def training_digest(self) -> str:
        """Hex SHA-256 of all that is learnt from: training and held-out images, labels, classes."""
        parts = [self.train.digest(), self.held_out.digest(), self.classes]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class DataSource(Plugin, ABC):
    """Where a data set comes from: files that are there already. Nothing is ever downloaded."""

    kind: ClassVar[str] = "data"

    @abstractmethod
    def load(self) -> DataSet:
        """Read and check everything.

        Raises:
            DataError: files are missing (the message lists them), damaged, or hold what no model
                may be given.
        """


def data_folder(root: str) -> Path:
    """The folder that a source's `root` names: relative ones lie below $ROBUSTDEQ_DATA or ./data.

    A specification can so name its files without the path of one machine, which would become part
    of the identity of every trial on them.
    """
    return Path(os.environ.get("ROBUSTDEQ_DATA", "data")) / root


def hold_out(training: Split, count: int) -> tuple[Split, Split]:
    """(train, held_out): `count` images of a training split held out by a fixed rule.

    The held-out images are those at the first `count` positions of the permutation that
    `NoiseStream(0).permutation(len(training))` draws; both parts keep the order of the files. The
    rule reads no label and no test image, and is random because files may be sorted by class.

    Raises:
        DataError: `count` leaves no image to hold out or none to train on.
    """
    if not 1 <= count < len(training):
        raise DataError(
            f"held_out = {count} of {len(training)} training images; "
            f"expected 1 to {len(training) - 1}"
        )
    chosen = torch.zeros(len(training), dtype=torch.bool)
    chosen[NoiseStream(0).permutation(len(training))[:count]] = True
    return (
        Split(training.images[~chosen], training.labels[~chosen]),
        Split(training.images[chosen], training.labels[chosen]),
    )
