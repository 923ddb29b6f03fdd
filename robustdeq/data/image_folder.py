"""One's own images: a folder per class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from robustdeq.data.base import DataSet, DataSource, Split, data_folder, hold_out
from robustdeq.errors import DataError


@dataclass(frozen=True)
class ImageFolder(DataSource):
    """Images in `root`/train/CLASS/* and `root`/test/CLASS/*, all of one size.

    Classes are numbered in the sorted order of their folders, images come in the sorted order of
    their paths, hidden files are passed over, and `held_out` training images are held out.
    `mode` is Pillow's: RGB (three channels) or L (grey). Nothing is resized or cropped, since that
    would be part of the model and not of the data.
    """

    root: str
    held_out: int
    mode: Literal["RGB", "L"] = "RGB"

    def load(self) -> DataSet:
        folder = data_folder(self.root)
        classes = _classes(folder / "train")
        if (other := _classes(folder / "test")) != classes:
            raise DataError(
                f"{folder}: train has the classes {classes}, test has {other}; expected the same"
            )
        training, test = (self._read(folder / part, classes) for part in ("train", "test"))
        return DataSet(*hold_out(training, self.held_out), test, classes=len(classes))

    def _read(self, folder: Path, classes: list[str]) -> Split:
        files = [(p, n) for n, name in enumerate(classes) for p in _visible(folder / name)]
        if not files:
            raise DataError(f"{folder} holds no images; expected {folder}/CLASS/FILE")
        images = [_decode(path, self.mode) for path, _ in files]
        for image, (path, _) in zip(images, files, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{path} is {image.shape} (channels, height, width), {files[0][0]} "
                    f"{images[0].shape}; resize the images to one size first"
                )
        return Split.from_bytes(np.stack(images), np.array([label for _, label in files]))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; expected train/CLASS/FILE and test/CLASS/FILE below "
            f"{folder.parent}. Nothing is downloaded: set `root` or $ROBUSTDEQ_DATA"
        )
    return [path.name for path in _visible(folder)]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _decode(path: Path, mode: str) -> UInt8[np.ndarray, "channels height width"]:
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert(mode))
    except OSError as error:
        raise DataError(f"{path} is not a readable image ({error}); remove it") from error
    return np.atleast_3d(pixels).transpose(2, 0, 1)
