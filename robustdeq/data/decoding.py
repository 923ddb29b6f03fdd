"""Image files to exact pixels: a file that cannot be read without loss is refused by name."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8, UInt16
from numpy import ndarray
from PIL import Image, ImageFile, ImageOps

from robustdeq.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
Mode = Literal["RGB", "L"]
Pixels = UInt8[ndarray, "channels height width"] | UInt16[ndarray, "channels height width"]
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# What Pillow raises for a damaged file, by format and by where the damage is.
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def decode(file: Path | io.BytesIO, mode: Mode, where: str) -> Pixels:
    """The pixels of one image file: bytes, or 16-bit numbers where a gray file has these.

    Exact are one bit, gray of up to 16 bits, palettes and RGB; an alpha channel that is opaque
    everywhere is dropped, and pixels are turned as EXIF says. Gray gives three equal channels in
    mode RGB; color gives luma in mode L, (299 R + 587 G + 114 B) / 1000 (ITU-R 601-2), which
    leaves gray as it is. Gamma and color profiles are not looked at: pixels are what is stored.

    Args:
        where: names the file in messages.

    Raises:
        DataError: the file is damaged, of another format or color space, has several frames,
            transparent pixels, or a depth whose pixels would have to be rounded.
    """
    with _strictly():
        try:
            with Image.open(file, formats=FORMATS) as image:
                if reason := _unfit(image):
                    raise DataError(f"{where}: {reason}")
                image.load()
                upright = ImageOps.exif_transpose(image)
        except _DAMAGED as error:
            raise DataError(
                f"{where}: not a readable image ({error}); replace or remove it"
            ) from error
    pixels = _sixteen_bits(upright) if upright.mode in _SIXTEEN else _bytes(upright, mode, where)
    planes = np.atleast_3d(pixels).transpose(2, 0, 1)
    return np.repeat(planes, 3, axis=0) if mode == "RGB" and len(planes) == 1 else planes


def _unfit(image: ImageFile.ImageFile) -> str:
    """Why an opened file cannot be decoded exactly; empty where it can."""
    frames = getattr(image, "n_frames", 1)  # of the formats that may have several
    if frames > 1:
        return f"{frames} frames; store one image in a file"
    codec, raw, most = _stored(image)
    depth = int(found[1]) if (found := re.search(r";(\d+)", raw)) else 8
    if image.mode in _SIXTEEN:
        if re.fullmatch(r"I;16[BLN]?", raw) is None or "transparency" in image.info:
            return f"pixels are stored as {raw}; expected gray of 16 bits and no transparency"
    elif image.mode not in ("1", "L", "P", "RGB", *_ALPHA):
        return f"color mode {image.mode}; convert it to RGB or gray yourself, by a rule you know"
    elif depth > 8 or (codec.startswith("ppm") and most != 255):
        return f"pixels are stored as {raw} up to {most}, and 8 bits would round them; convert it"
    return ""


def _stored(image: ImageFile.ImageFile) -> tuple[str, str, int]:
    """Codec, raw mode and largest value, as far as the format tells them before it is decoded."""
    if not image.tile:
        return "", image.mode, 255
    codec, arguments = image.tile[0][0], image.tile[0][3]
    parts = arguments if isinstance(arguments, tuple) else (arguments,)
    raw = next((part for part in parts if isinstance(part, str)), image.mode)
    most = parts[-1] if codec.startswith("ppm") else 65535 if ";16" in raw else 255
    return codec, raw, int(most) if isinstance(most, int) else 255


def _sixteen_bits(image: Image.Image) -> UInt16[ndarray, "height width"]:
    return np.asarray(image).astype(np.uint16)


def _bytes(image: Image.Image, mode: Mode, where: str) -> UInt8[ndarray, "height width *channels"]:
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _opaque(image, where)
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode == "1" or mode == "L":
        image = image.convert("L")
    return np.asarray(image)


def _opaque(image: Image.Image, where: str) -> Image.Image:
    plain = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # premultiplied
    whole = (image.convert(plain) if plain else image).convert("RGBA")
    if whole.getchannel("A").getextrema()[0] != 255:
        raise DataError(
            f"{where}: some pixels are transparent and so of no color; put it on a background first"
        )
    return whole.convert("RGB")


@contextmanager
def _strictly() -> Iterator[None]:
    """A bomb is an error and a cut file too, whatever else in this process allows them."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
