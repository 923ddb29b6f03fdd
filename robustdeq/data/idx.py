"""The idx format of MNIST and its relatives, plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from robustdeq.data.base import DataSet, Split, hold_out
from robustdeq.errors import DataError

_UNSIGNED_BYTE = 0x08
_STEMS = {"train": "train", "test": "t10k"}


def load_idx_folder(folder: Path, held_out: int) -> DataSet:
    """The data set of ten classes in the four idx files of a folder, `held_out` as in `hold_out`.

    Raises:
        DataError: a file is missing, damaged, or does not fit the others.
    """
    training, test = _split(folder, "train"), _split(folder, "test")
    return DataSet(*hold_out(training, held_out), test, classes=10)


def read_idx(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """The byte array of an idx file: magic (0, 0, type, dimensions), big-endian sizes, data.

    LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".

    Raises:
        DataError: another magic, or fewer or more bytes than the sizes announce.
    """
    data = _content(path)
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if data[:4] != magic or len(data) < start:
        raise DataError(
            f"{path} begins with {data[:4].hex() or 'nothing'}; expected the idx magic "
            f"{magic.hex()} and {dimensions} sizes: replace the file"
        )
    sizes = tuple(np.frombuffer(data[4:start], dtype=">u4").tolist())
    if len(data) - start != math.prod(sizes):
        raise DataError(
            f"{path} holds {len(data) - start} bytes of data; its sizes {sizes} need "
            f"{math.prod(sizes)}: the file is truncated or damaged, replace it"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(sizes).copy()


def _split(folder: Path, part: str) -> Split:
    images = _find(folder, f"{_STEMS[part]}-images-idx3-ubyte")
    labels = _find(folder, f"{_STEMS[part]}-labels-idx1-ubyte")
    return Split.from_bytes(read_idx(images, 3)[:, None], read_idx(labels, 1))


def _find(folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    wanted = ", ".join(
        f"{stem}-{kind}-ubyte"
        for stem in _STEMS.values()
        for kind in ("images-idx3", "labels-idx1")
    )
    raise DataError(
        f"{stem} (or .gz) is not in {folder}; expected there: {wanted}, plain or .gz. Nothing is "
        f"downloaded: put the files there, or set `root` or $ROBUSTDEQ_DATA"
    )


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); replace it") from error
