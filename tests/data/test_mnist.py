import gzip
import struct

import numpy as np
import pytest
import torch

from robustdeq.data.fashion_mnist import FashionMNIST
from robustdeq.data.idx import read_idx
from robustdeq.data.mnist import MNIST
from robustdeq.errors import DataError

SOURCES = [MNIST, FashionMNIST]
FILES = {
    "train-images-idx3-ubyte": (12, 4, 3),
    "train-labels-idx1-ubyte": (12,),
    "t10k-images-idx3-ubyte": (5, 4, 3),
    "t10k-labels-idx1-ubyte": (5,),
}


def idx(array):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def arrays():
    """A byte array for each file: counting pixels, and labels below ten."""
    return {
        name: (np.arange(np.prod(shape)) % (10 if len(shape) == 1 else 256))
        .astype(np.uint8)
        .reshape(shape)
        for name, shape in FILES.items()
    }


@pytest.fixture
def folder(tmp_path, arrays):
    for name, array in arrays.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


@pytest.mark.parametrize("source", SOURCES)
def test_the_four_files_become_pixels_and_labels_in_their_order(source, folder, arrays):
    data = source(root=str(folder), held_out=3).load()
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [9, 3, 5]
    assert data.shape == (1, 4, 3)
    expected = torch.from_numpy(arrays["t10k-images-idx3-ubyte"])[:, None] / 255
    torch.testing.assert_close(data.test.images, expected, rtol=0, atol=0)
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4]


def test_plain_files_and_gzipped_files_are_the_same_data(folder, tmp_path_factory, arrays):
    plain = tmp_path_factory.mktemp("plain")
    for name, array in arrays.items():
        (plain / name).write_bytes(idx(array))
    there, here = (MNIST(root=str(root), held_out=3).load() for root in (folder, plain))
    assert there.train.digest() == here.train.digest()
    assert there.held_out.digest() == here.held_out.digest()
    assert there.test.digest() == here.test.digest()


def test_a_missing_file_is_named_with_all_that_belong_there(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="Nothing is downloaded") as caught:
        MNIST(root=str(folder), held_out=3).load()
    assert str(caught.value).startswith(f"t10k-labels-idx1-ubyte (or .gz) is not in {folder}")
    for name in FILES:
        assert name in str(caught.value)


@pytest.mark.parametrize("cut", [0, 3, 7, 20])
def test_a_truncated_file_is_refused(tmp_path, arrays, cut):
    path = tmp_path / "images"
    path.write_bytes(idx(arrays["t10k-images-idx3-ubyte"])[:cut])
    with pytest.raises(DataError, match=str(path)):
        read_idx(path, 3)


def test_a_file_with_bytes_to_spare_is_refused(tmp_path, arrays):
    path = tmp_path / "images"
    path.write_bytes(idx(arrays["t10k-images-idx3-ubyte"]) + b"\0")
    with pytest.raises(DataError, match=r"holds 61 bytes of data; its sizes \[?\(?5, 4, 3"):
        read_idx(path, 3)


def test_labels_in_the_place_of_images_are_refused(tmp_path, arrays):
    path = tmp_path / "images"
    path.write_bytes(idx(arrays["t10k-labels-idx1-ubyte"]))
    with pytest.raises(DataError, match="begins with 00000801; expected the idx magic 00000803"):
        read_idx(path, 3)


@pytest.mark.parametrize("damage", [lambda gz: gz[:-9], lambda gz: b"PK" + gz[2:]])
def test_a_damaged_gzip_file_is_refused(tmp_path, arrays, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(idx(arrays["t10k-images-idx3-ubyte"]))))
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_idx(path, 3)


def test_a_label_that_is_no_digit_is_refused(folder, arrays):
    arrays["t10k-labels-idx1-ubyte"][2] = 10
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(arrays["t10k-labels-idx1-ubyte"])))
    with pytest.raises(DataError, match="label 10 of image 2"):
        MNIST(root=str(folder), held_out=3).load()


def test_images_without_as_many_labels_are_refused(folder, arrays):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(arrays["t10k-labels-idx1-ubyte"][:4])))
    with pytest.raises(DataError, match=r"5 images with labels of shape \(4,\)"):
        MNIST(root=str(folder), held_out=3).load()
