"""CIFAR-10 from the binary version that its authors publish."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustdeq.data.base import DataSet, DataSource, Split, data_folder, hold_out
from robustdeq.errors import DataError

_TRAINING = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = ("test_batch.bin",)
_IMAGE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes


@dataclass(frozen=True)
class CIFAR10(DataSource):
    """Natural images of ten classes, 32x32 RGB: 50,000 training images, `held_out` held out.

    `root` holds the six .bin files of cifar-10-binary.tar.gz. The Python version of the same data
    is refused: its files are pickles, which run code when they are read. Krizhevsky (2009),
    "Learning multiple layers of features from tiny images", chapter 3.
    """

    root: str = "cifar-10-batches-bin"
    held_out: int = 5000

    def load(self) -> DataSet:
        folder = data_folder(self.root)
        missing = [name for name in _TRAINING + _TEST if not (folder / name).is_file()]
        if missing:
            raise DataError(_explain(folder, missing))
        train, held_out = hold_out(_read(folder, _TRAINING), self.held_out)
        return DataSet(train, held_out, _read(folder, _TEST), classes=10)


def _read(folder: Path, names: tuple[str, ...]) -> Split:
    for name in names:
        size = (folder / name).stat().st_size
        if size == 0 or size % _RECORD:
            raise DataError(
                f"{folder / name} has {size} bytes; expected a multiple of {_RECORD} (a label and "
                f"{_RECORD - 1} pixels): the file is truncated or damaged, replace it"
            )
    data = np.concatenate([np.fromfile(folder / name, dtype=np.uint8) for name in names])
    records = data.reshape(-1, _RECORD)
    return Split.from_bytes(records[:, 1:].reshape(-1, *_IMAGE), records[:, 0])


def _explain(folder: Path, missing: list[str]) -> str:
    message = (
        f"{', '.join(missing)} not in {folder}; expected there: {', '.join(_TRAINING + _TEST)}, "
        f"from cifar-10-binary.tar.gz. Nothing is downloaded: unpack it there, or set `root` or "
        f"$ROBUSTDEQ_DATA"
    )
    for pickles in (folder, folder.with_name("cifar-10-batches-py")):
        if (pickles / "test_batch").is_file():
            message += f". {pickles} holds Python pickles, which are never read here"
    if (folder.parent / "cifar10-test.parquet").is_file():
        message += f". {folder.parent} holds JPEG copies: those are the data set 'cifar10-jpeg'"
    return message
