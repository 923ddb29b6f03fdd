"""A file becomes exactly the pixels that it stores, or is refused by its name."""

import io
import struct
import warnings
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageFile

from robustdeq.data.decoding import decode
from robustdeq.errors import DataError

GRAY = np.array([[0, 1, 127], [128, 254, 255]], dtype=np.uint8)
COLOR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=2)
DEEP = np.array([[0, 1, 4000], [32768, 65534, 65535]], dtype=np.uint16)
OPAQUE = np.full_like(GRAY, 255)
SHEER = np.array([[255, 255, 255], [255, 254, 255]], dtype=np.uint8)


def stored(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    return stream.getvalue()


def png(depth, color, rows, extra=b""):
    """A PNG of any depth: `rows` are the packed bytes of each line."""

    def chunk(name, data):
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", 1, len(rows), depth, color, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def read(data, mode="RGB"):
    return decode(io.BytesIO(data), mode, "a file")


def of(array, *planes):
    return Image.fromarray(np.dstack([array, *planes]) if planes else array)


def premultiplied(image):
    """A TIFF whose colors are stored as products with their alpha: ExtraSamples 1 instead of 2."""
    tag = struct.pack("<HHIH", 338, 3, 1, 2)
    data = stored(image, "TIFF")
    assert data.count(tag) == 1
    return data.replace(tag, struct.pack("<HHIH", 338, 3, 1, 1))


def palette(image, **options):
    return stored(image.convert("P", palette=Image.Palette.ADAPTIVE), **options)


LOSSLESS = {
    "PNG": partial(stored, of(COLOR)),
    "BMP": partial(stored, of(COLOR), "BMP"),
    "TIFF": partial(stored, of(COLOR), "TIFF"),
    "PPM": partial(stored, of(COLOR), "PPM"),
    "lossless WebP": partial(stored, of(COLOR), "WEBP", lossless=True),
    "an opaque alpha channel": partial(stored, of(COLOR, OPAQUE)),
    "opaque and premultiplied": partial(premultiplied, of(COLOR, OPAQUE)),
    "a palette": partial(palette, of(COLOR)),
    "a palette with an opaque entry": partial(palette, of(COLOR), transparency=b"\xff"),
    "a GIF of one frame": partial(palette, of(COLOR), form="GIF"),
}


@pytest.mark.parametrize("make", LOSSLESS.values(), ids=LOSSLESS)
def test_color_is_read_as_it_is_stored(make):
    pixels = read(make())
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, COLOR.transpose(2, 0, 1))


GRAYS = {
    "PNG": partial(stored, of(GRAY)),
    "an opaque alpha channel": partial(stored, of(GRAY, OPAQUE)),
    "opaque and premultiplied": partial(premultiplied, of(GRAY, OPAQUE)),
    "a gray palette": partial(palette, of(GRAY)),
    "equal channels": partial(stored, of(GRAY, GRAY, GRAY)),
    "TIFF": partial(stored, of(GRAY), "TIFF"),
    "PGM": partial(stored, of(GRAY), "PPM"),
}


@pytest.mark.parametrize("make", GRAYS.values(), ids=GRAYS)
def test_gray_is_read_as_it_is_stored_and_three_times_in_color(make):
    np.testing.assert_array_equal(read(make(), "L"), GRAY[None])
    np.testing.assert_array_equal(read(make()), np.stack([GRAY] * 3))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_gray_of_16_bits_keeps_them(form):
    for mode, channels in (("L", 1), ("RGB", 3)):
        pixels = read(stored(of(DEEP), form), mode)
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, np.stack([DEEP] * channels))


def test_big_endian_16_bits_are_the_same_numbers():
    image = of(DEEP)
    stream = stored(Image.frombytes("I;16B", image.size, DEEP.astype(">u2").tobytes()), "TIFF")
    np.testing.assert_array_equal(read(stream, "L"), DEEP[None])


@pytest.mark.parametrize(("depth", "levels"), [(1, 2), (2, 4), (4, 16)])
def test_a_few_bits_are_spread_evenly_from_black_to_white(depth, levels):
    rows = [bytes([level << (8 - depth)]) for level in range(levels)]
    expected = np.arange(levels) * (255 // (levels - 1))
    np.testing.assert_array_equal(read(png(depth, 0, rows), "L")[0, :, 0], expected)


def test_color_in_a_gray_folder_is_its_luma():
    r, g, b = COLOR.astype(float).transpose(2, 0, 1)
    luma = read(stored(of(COLOR)), "L")[0]
    assert np.abs(luma - (0.299 * r + 0.587 * g + 0.114 * b)).max() <= 0.51


TURNS = {1: lambda x: x, 2: np.fliplr, 3: partial(np.rot90, k=2), 4: np.flipud,
         5: lambda x: x.transpose(1, 0, 2), 6: partial(np.rot90, k=-1),
         7: lambda x: np.rot90(x, 2).transpose(1, 0, 2), 8: np.rot90}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_pixels_are_turned_as_exif_says(orientation, form):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = read(stored(of(COLOR), form, exif=exif)).transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels, TURNS[orientation](COLOR))


def frames(form):
    return stored(of(COLOR), form, save_all=True, append_images=[of(255 - COLOR)])


def bmp_of_5_bits():
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + header + bytes(4)


REFUSED = {
    "RGB of 16 bits": (png(16, 2, [bytes(6)]), "8 bits would round them"),
    "gray and alpha of 16 bits": (png(16, 4, [bytes(4)]), "8 bits would round them"),
    "a transparent gray of 16 bits": (
        png(16, 0, [bytes(2)], struct.pack(">I4sHI", 2, b"tRNS", 0, zlib.crc32(b"tRNS\0\0"))),
        "no transparency",
    ),
    "a few levels of 15": (b"P5 1 1 15\n\7", "8 bits would round them"),
    "levels of 1023": (b"P6 1 1 1023\n" + bytes(6), "8 bits would round them"),
    "5 bits a channel": (bmp_of_5_bits(), "8 bits would round them"),
    "floats": (stored(of(GRAY.astype(np.float32)), "TIFF"), "color mode F"),
    "32 bits": (stored(of(GRAY.astype(np.int32)), "TIFF"), "expected gray of 16 bits"),
    "CMYK": (stored(of(COLOR).convert("CMYK"), "JPEG"), "color mode CMYK"),
    "YCbCr": (stored(of(COLOR).convert("YCbCr"), "TIFF"), "color mode YCbCr"),
    "Lab": (stored(Image.new("LAB", (2, 2)), "TIFF"), "color mode LAB"),
    "transparent color": (stored(of(COLOR, SHEER)), "transparent"),
    "transparent gray": (stored(of(GRAY, SHEER)), "transparent"),
    "premultiplied color": (premultiplied(of(COLOR, SHEER)), "transparent"),
    "premultiplied gray": (premultiplied(of(GRAY, SHEER)), "transparent"),
    "a transparent gray level": (stored(of(GRAY), transparency=127), "transparent"),
    "a transparent color key": (stored(of(COLOR), transparency=(0, 128, 127)), "transparent"),
    "a transparent palette": (palette(of(COLOR), transparency=0), "transparent"),
    "a moving GIF": (frames("GIF"), "2 frames; store one image in a file"),
    "a TIFF of pages": (frames("TIFF"), "2 frames"),
    "a moving PNG": (frames("PNG"), "2 frames"),
    "a moving WebP": (frames("WEBP"), "2 frames"),
    "half a PNG": (stored(of(COLOR))[:-30], "not a readable image"),
    "half a JPEG": (stored(of(np.repeat(COLOR, 50, 0)), "JPEG")[:-300], "not a readable image"),
    "a PNG with a wrong sum": (
        stored(of(COLOR)).replace(b"IDAT", b"IDAU"), "not a readable image",
    ),
    "nothing": (b"", "not a readable image"),
    "text": (b"hello", "not a readable image"),
    "another format": (stored(of(COLOR), "ICO"), "not a readable image"),
    "a bomb": (b"P5 20000 20000 255\n", "not a readable image"),
    "a small bomb": (b"P5 10000 10000 255\n", "not a readable image"),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_guessed_or_rounded_is_refused_by_name(data, said, mode):
    with pytest.raises(DataError, match=r"^a file") as caught:
        read(data, mode)
    assert said in str(caught.value)


def test_a_cut_file_is_refused_though_the_process_would_fill_it_with_gray(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="not a readable image"):
        read(stored(of(np.repeat(COLOR, 50, 0)), "JPEG")[:-300])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_filters_of_the_caller_decide_about_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(stored(of(COLOR, OPAQUE).quantize(4), transparency=bytes([255] * 4)))
