"""One's own images: a folder per class."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np

from robustdeq.data.base import DataSet, DataSource, Split, data_folder, hold_out
from robustdeq.data.decoding import Pixels, decode
from robustdeq.errors import DataError

_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
_OTHERS = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga", ".svg", ".npy", ".exr", ".dng")


@dataclass(frozen=True)
class ImageFolder(DataSource):
    """Images in `root`/train/CLASS/* and `root`/test/CLASS/*, all of one size.

    Classes are numbered in the sorted order of their folders, images come in the sorted order of
    their names, both by code points on every platform, and `held_out` training images are held
    out. `mode` is RGB (three channels) or L (gray); `robustdeq.data.decoding` says what becomes
    exact pixels and what is refused. Gray files of 16 bits keep them where all files have these.
    Nothing is resized or cropped, since that would be part of the model and not of the data.

    Hidden files are passed over; other files that are no images, and folders inside a class, are
    passed over too, and the notes of the data set say how many.
    """

    root: str
    held_out: int
    mode: Literal["RGB", "L"] = "RGB"

    def load(self) -> DataSet:
        folder = data_folder(self.root)
        parts = _list(folder / "train"), _list(folder / "test")
        training, test = ([each.name for each in part.classes] for part in parts)
        if training != test:
            raise DataError(
                f"{folder}: train has the classes {training}, test has {test}; expected the same"
            )
        train, held_out = hold_out(self._read(parts[0]), self.held_out)
        data = DataSet(train, held_out, self._read(parts[1]), classes=len(training))
        return replace(data, notes=_notes([path for part in parts for path in part.skipped]))

    def _read(self, part: "_Part") -> Split:
        files = [(path, n) for n, each in enumerate(part.classes) for path in part.images[each]]
        images = [decode(path, self.mode, str(path)) for path, _ in files]
        for image, (path, _) in zip(images, files, strict=True):
            if _kind(image) != _kind(images[0]):
                raise DataError(
                    f"{path} is {_kind(image)}, {files[0][0]} {_kind(images[0])} (channels, "
                    f"height, width); resize the images to one size and depth first"
                )
        white = np.iinfo(images[0].dtype).max
        return Split.from_bytes(np.stack(images), np.array([label for _, label in files]), white)


@dataclass(frozen=True)
class _Part:
    """What lies in a folder of folders."""

    classes: list[Path] = field(default_factory=list)
    images: dict[Path, list[Path]] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)


def _list(folder: Path) -> _Part:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; expected train/CLASS/FILE and test/CLASS/FILE below "
            f"{folder.parent}. Nothing is downloaded: set `root` or $ROBUSTDEQ_DATA"
        )
    part = _Part()
    for path in _visible(folder):
        if not path.is_dir():
            part.skipped.append(path)
            continue
        there = _visible(path)
        images = [each for each in there if each.is_file() and _is_image(each)]
        if not images:
            raise DataError(f"{path} holds no images; expected {path}/FILE, or no such folder")
        part.classes.append(path)
        part.images[path] = images
        part.skipped.extend(each for each in there if each not in set(images))
    if not part.classes:
        raise DataError(f"{folder} holds no images; expected {folder}/CLASS/FILE")
    return part


def _visible(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error}); make it readable") from error
    for path in found:
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a link to nothing; restore its target or remove it")
    return sorted(found, key=lambda path: normalize("NFC", path.name))


def _is_image(path: Path) -> bool:
    """Whether a file's name says so.

    Raises:
        DataError: it does, of a format that is not read here.
    """
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise DataError(f"{path} is of a format that is not read here; convert it to PNG")
    return suffix in _SUFFIXES


def _kind(image: Pixels) -> str:
    bits = 8 * image.dtype.itemsize
    return f"{image.shape}" if bits == 8 else f"{image.shape} of {bits} bits"


def _notes(skipped: Iterable[Path]) -> tuple[str, ...]:
    paths = list(skipped)
    if not paths:
        return ()
    return (f"{len(paths)} files or folders are no images and were skipped, first {paths[0]}",)
