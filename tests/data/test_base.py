import hashlib
import struct

import numpy as np
import pytest
import torch

from robustdeq.data.base import DataSet, Split, data_folder, hold_out
from robustdeq.errors import DataError


def split(n=4, label=0, shape=(1, 2, 2)):
    """Images of the classes 0, 1, 0, 1, ... shifted by `label`."""
    return Split(torch.rand(n, *shape), torch.arange(n) % 2 + label)


def numbered(n):
    """Image i is filled with i / n and has the label i."""
    images = (torch.arange(n) / n).reshape(n, 1, 1, 1).expand(n, 1, 2, 2)
    return Split(images.contiguous(), torch.arange(n))


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), -0.25, 1.5])
def test_a_pixel_no_model_may_see_is_refused_by_image_and_value(pixel):
    images = torch.rand(5, 1, 2, 2)
    images[3, 0, 1, 1] = pixel
    with pytest.raises(DataError, match=rf"image 3 holds the pixel {pixel:g}; expected \[0, 1\]"):
        Split(images, torch.zeros(5, dtype=torch.int64))


def test_zero_and_one_are_pixels():
    images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    assert len(Split(images, torch.tensor([0, 1]))) == 2


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(0, 1, 2, 2), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.rand(4, 2, 2), torch.zeros(4, dtype=torch.int64), r"shape \(4, 2, 2\)"),
        (torch.rand(4, 1, 2, 2).double(), torch.zeros(4, dtype=torch.int64), "torch.float64"),
        (torch.rand(4, 1, 2, 2), torch.zeros(4), "labels are torch.float32"),
        (torch.rand(4, 1, 2, 2), torch.zeros(3, dtype=torch.int64), r"4 images .* shape \(3,\)"),
        (torch.rand(2, 1, 2, 2), torch.tensor([0, -1]), "label -1 of image 1"),
    ],
)
def test_what_is_not_a_labelled_batch_of_images_is_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_bytes_become_the_nearest_float32_pixels():
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    split = Split.from_bytes(levels, np.zeros(256, dtype=np.uint8))
    exact = torch.arange(256, dtype=torch.float64) / 255
    torch.testing.assert_close(split.images.flatten(), exact.to(torch.float32), rtol=0, atol=0)


def test_the_digest_is_sha_256_of_shape_pixels_and_labels():
    one = Split(torch.tensor([0.25, 0.5]).reshape(1, 1, 1, 2), torch.tensor([7]))
    content = b"(1, 1, 1, 2)" + struct.pack("<2f", 0.25, 0.5) + struct.pack("<q", 7)
    assert one.digest() == hashlib.sha256(content).hexdigest()


def test_the_digest_sees_a_pixel_a_label_and_the_shape():
    images, labels = torch.rand(3, 1, 2, 4), torch.tensor([0, 1, 2])
    brighter = images.clone()
    brighter[0, 0, 0, 0] = (brighter[0, 0, 0, 0] + 0.5) % 1.0
    variants = [
        Split(images, labels),
        Split(brighter, labels),
        Split(images, labels.flip(0)),
        Split(images.reshape(3, 1, 4, 2), labels),
    ]
    assert len({variant.digest() for variant in variants}) == 4


def test_the_digest_does_not_depend_on_the_memory_layout():
    images = torch.rand(3, 2, 4, 4)
    labels = torch.zeros(3, dtype=torch.int64)
    strided = images.contiguous(memory_format=torch.channels_last)
    assert Split(strided, labels).digest() == Split(images, labels).digest()


def test_take_gives_the_first_images():
    assert numbered(5).take(2).labels.tolist() == [0, 1]
    assert numbered(5).take(5).digest() == numbered(5).digest()


@pytest.mark.parametrize("n", [0, -1, 6])
def test_take_refuses_more_images_than_there_are_and_none(n):
    with pytest.raises(DataError, match=f"first {n} of 5 images; give 1 to 5"):
        numbered(5).take(n)


def test_holding_out_parts_the_training_images_and_keeps_their_order():
    train, held_out = hold_out(numbered(50), 10)
    assert len(held_out) == 10
    assert train.labels.tolist() == sorted(set(range(50)) - set(held_out.labels.tolist()))
    assert held_out.labels.tolist() == sorted(held_out.labels.tolist())
    for part in (train, held_out):  # an image keeps its label
        torch.testing.assert_close(part.images[:, 0, 0, 0], part.labels / 50)


def test_the_held_out_images_never_change():
    _, held_out = hold_out(numbered(20), 5)
    assert held_out.labels.tolist() == [0, 1, 6, 12, 17]


@pytest.mark.parametrize("count", [0, -1, 20, 21])
def test_holding_out_all_or_nothing_is_refused(count):
    with pytest.raises(DataError, match=f"held_out = {count} of 20 training images"):
        hold_out(numbered(20), count)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(DataError, match="label 3 of image 1 is out of range; expected 0 to 2"):
        DataSet(split(), split(), split(label=2), classes=3)


def test_the_splits_of_a_data_set_have_one_image_shape():
    with pytest.raises(DataError, match=r"test images are \(1, 2, 3\), train images \(1, 2, 2\)"):
        DataSet(split(), split(), split(shape=(1, 2, 3)), classes=2)


def test_a_data_set_knows_its_image_shape():
    data = DataSet(*(split(shape=(3, 2, 4)) for _ in range(3)), classes=2)
    assert data.shape == (3, 2, 4)


def test_a_relative_root_lies_below_the_data_folder_and_an_absolute_one_does_not(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ROBUSTDEQ_DATA", str(tmp_path))
    assert data_folder("MNIST/raw") == tmp_path / "MNIST" / "raw"
    assert data_folder("/images").as_posix() == "/images"
    monkeypatch.delenv("ROBUSTDEQ_DATA")
    assert data_folder("MNIST/raw").as_posix() == "data/MNIST/raw"
