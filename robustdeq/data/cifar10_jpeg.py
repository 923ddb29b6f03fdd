"""CIFAR-10-JPEG: the images of CIFAR-10 after a lossy re-encoding."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from jaxtyping import UInt8

from robustdeq.data.base import DataSet, DataSource, Split, data_folder, hold_out
from robustdeq.data.decoding import decode
from robustdeq.errors import DataError

_SIZE = (32, 32)


@dataclass(frozen=True)
class CIFAR10JPEG(DataSource):
    """CIFAR-10 in its original order, as JPEG files in two parquet tables. Not CIFAR-10.

    A JPEG of quality 75 moves a quarter of the values by more than 8/255, which is as much as an
    attack may, so no number from these files may stand beside a published one; hence the name of
    its own. `root` holds cifar10-train.parquet and cifar10-test.parquet with the columns
    image.bytes and label.
    """

    root: str = "."
    held_out: int = 5000

    def load(self) -> DataSet:
        folder = data_folder(self.root)
        train, held_out = hold_out(_read(folder / "cifar10-train.parquet"), self.held_out)
        return DataSet(train, held_out, _read(folder / "cifar10-test.parquet"), classes=10)


def _read(path: Path) -> Split:
    if not path.is_file():
        raise DataError(
            f"{path.name} is not in {path.parent}; expected there: cifar10-train.parquet and "
            f"cifar10-test.parquet. Nothing is downloaded: put the files there, or set `root` or "
            f"$ROBUSTDEQ_DATA"
        )
    try:
        table = pyarrow.parquet.read_table(path, columns=["image", "label"]).flatten()
        images = table["image.bytes"]
        labels = table["label"].cast(pyarrow.int64()).fill_null(-1)  # refused as out of range
    except (pyarrow.ArrowException, KeyError) as error:
        raise DataError(
            f"{path} is not a parquet file with the columns image.bytes and label ({error}); "
            f"replace it"
        ) from error
    pixels = [_decode(image.as_py(), f"{path}, row {i}") for i, image in enumerate(images)]
    if not pixels:
        raise DataError(f"{path} has no rows; replace it")
    return Split.from_bytes(np.stack(pixels), labels.to_numpy())


def _decode(data: bytes, where: str) -> UInt8[np.ndarray, "3 32 32"]:
    pixels = decode(io.BytesIO(data), "RGB", where)
    if (size := pixels.shape[:0:-1]) != _SIZE:
        raise DataError(f"{where}: the image has size {size}; expected {_SIZE}")
    if pixels.dtype != np.uint8:
        raise DataError(f"{where}: the image has {pixels.dtype} pixels; expected bytes")
    return pixels
