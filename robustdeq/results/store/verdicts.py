"""What one record says of each image, once its tables have been held against each other."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from robustdeq.results.store.protocol import places
from robustdeq.results.store.record import Record
from robustdeq.results.store.tables import to_numpy

ALWAYS = (
    "index", "attack_seed", "label", "clean_pred", "adv_pred", "robust", "distance", "margin",
)  # fmt: skip


@dataclass(frozen=True)
class Verdicts:
    """The samples of a record as arrays (seeds, n): a row for each attack seed, images in order.

    Attributes:
        survival: the share of fresh draws that are right where answers are random, else None.
    """

    index: Int[ndarray, "seeds n"]
    attack_seed: Int[ndarray, "seeds n"]
    label: Int[ndarray, "seeds n"]
    clean_pred: Int[ndarray, "seeds n"]
    adv_pred: Int[ndarray, "seeds n"]
    robust: Bool[ndarray, "seeds n"]
    distance: Float[ndarray, "seeds n"]
    margin: Float[ndarray, "seeds n"]
    survival: Float[ndarray, "seeds n"] | None

    @property
    def correct(self) -> Bool[ndarray, " n"]:
        """Which clean images are answered rightly."""
        return self.label[0] == self.clean_pred[0]

    @property
    def largest_class(self) -> float:
        """The share of the most frequent label."""
        return float(np.bincount(self.label[0]).max() / self.label.shape[1])

    @property
    def survived(self) -> Float[ndarray, "seeds n"]:
        """1 where an image withstood, 0 where not; a share where answers are random."""
        return self.robust.astype(float) if self.survival is None else self.survival.astype(float)

    @property
    def worst(self) -> Float[ndarray, " n"]:
        """The lowest survival over the attack seeds."""
        return self.survived.min(0)

    def over(self, values: ndarray, images: int) -> Float[ndarray, " images"]:
        """Values of the judged images at their places in the data slice, NaN at all others."""
        placed = np.full(images, np.nan)
        placed[self.index[0]] = values
        return placed


def misshapen(record: Record, samples: pa.Table) -> str | None:
    """What is wrong with the rows of a record's samples table, if anything.

    A column attacks the first images of the slice in its order: which ones is not the entrant's
    choice.
    """
    seeds = sorted(record.column["seeds"])
    if gaps := samples["distance"].null_count:
        return f"{gaps} of its samples have no distance"
    if len(samples) != record.n * len(seeds):
        return f"it has {len(samples)} samples of {record.n} images under {len(seeds)} attack seeds"
    index, seed, order = _ordered(samples)
    first = places(record.column.get("order", "file"), record.n, record.data["n"])
    if not np.array_equal(index[order], np.tile(sorted(first), len(seeds))):
        return f"its samples are not of its first {record.n} images, once for each attack seed"
    if not np.array_equal(seed[order], np.repeat(seeds, record.n)):
        return f"its samples are not of the column's attack seeds {seeds}"
    return None


def read_verdicts(record: Record, samples: pa.Table) -> Verdicts:
    """The verdicts of a record whose samples table is not misshapen."""
    order, shape = _ordered(samples)[2], (len(record.column["seeds"]), record.n)

    def array(name: str) -> ndarray:
        column = samples[name]
        values = _with_gaps(column) if column.null_count else to_numpy(samples, name)
        return values[order].reshape(shape)

    survival = array("survival") if "survival" in samples.column_names else None
    return Verdicts(**{name: array(name) for name in ALWAYS}, survival=survival)


def _ordered(samples: pa.Table) -> tuple[ndarray, ndarray, ndarray]:
    """Index and attack seed of the samples, and the order that sorts them by seed and image."""
    index, seed = to_numpy(samples, "index"), to_numpy(samples, "attack_seed")
    return index, seed, np.lexsort((index, seed))


def _with_gaps(column: pa.ChunkedArray) -> ndarray:
    return np.array([np.nan if value is None else value for value in column.to_pylist()])
