import io

import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from robustdeq.data.cifar10 import CIFAR10
from robustdeq.data.cifar10_jpeg import CIFAR10JPEG
from robustdeq.errors import DataError

BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def record(label, red, green, blue):
    return bytes([label]) + b"".join(bytes([plane]) * 1024 for plane in (red, green, blue))


@pytest.fixture
def binary(tmp_path):
    """Batch b holds two flat images, of the classes b and b + 1."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for b, name in enumerate(BATCHES):
        (folder / name).write_bytes(record(b, 10 * b, 1, 255) + record(b + 1, 0, 0, 0))
    return folder


def jpeg(colour, size=(32, 32)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, format="JPEG", quality=75)
    return stream.getvalue()


def write_parquet(path, files, labels):
    images = [{"bytes": data, "path": f"{i}.jpg"} for i, data in enumerate(files)]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "label": labels}), path)


@pytest.fixture
def jpegs(tmp_path):
    grey = [jpeg((20 * i, 20 * i, 20 * i)) for i in range(10)]
    write_parquet(tmp_path / "cifar10-train.parquet", grey, list(range(10)))
    write_parquet(tmp_path / "cifar10-test.parquet", grey[:3], [2, 1, 0])
    return tmp_path


def test_the_binary_records_become_planes_and_labels_in_their_order(binary):
    data = CIFAR10(root=str(binary), held_out=4).load()
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [6, 4, 2]
    assert data.shape == (3, 32, 32)
    assert data.test.labels.tolist() == [5, 6]
    expected = torch.tensor([50, 1, 255])[:, None, None] / 255
    torch.testing.assert_close(data.test.images[0], expected.expand(3, 32, 32), rtol=0, atol=0)


def test_a_missing_batch_is_named(binary):
    (binary / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"^data_batch_3.bin not in .*Nothing is downloaded"):
        CIFAR10(root=str(binary), held_out=4).load()


def test_a_truncated_batch_is_refused(binary):
    path = binary / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch.bin has 6145 bytes; expected a multiple"):
        CIFAR10(root=str(binary), held_out=4).load()


@pytest.mark.parametrize("root", ["cifar-10-batches-bin", "cifar-10-batches-py"])
def test_pickles_are_refused_and_never_opened(tmp_path, root):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    trap = tmp_path / "opened"
    code = f"cposix\nsystem\n(S'touch {trap}'\ntR."
    for name in BATCHES:
        (folder / name.removesuffix(".bin")).write_text(code)
    with pytest.raises(DataError, match=f"{folder} holds Python pickles, which are never read"):
        CIFAR10(root=str(tmp_path / root), held_out=4).load()
    assert not trap.exists()


def test_the_jpeg_copies_are_another_data_set_and_pointed_to(jpegs):
    with pytest.raises(DataError, match="those are the data set 'cifar10-jpeg'"):
        CIFAR10(root=str(jpegs / "cifar-10-batches-bin"), held_out=4).load()
    assert CIFAR10JPEG.plugin_name() == "cifar10-jpeg"


def test_the_jpeg_files_become_pixels_and_labels_in_their_order(jpegs):
    data = CIFAR10JPEG(root=str(jpegs), held_out=4).load()
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [6, 4, 3]
    assert data.test.labels.tolist() == [2, 1, 0]
    levels = torch.tensor([0, 20, 40])[:, None, None, None] / 255
    # a flat grey image comes through JPEG within one step
    torch.testing.assert_close(
        data.test.images, levels.expand(3, 3, 32, 32), rtol=0, atol=1.5 / 255
    )


def test_a_missing_parquet_file_is_named(jpegs):
    (jpegs / "cifar10-test.parquet").unlink()
    with pytest.raises(DataError, match=r"^cifar10-test.parquet is not in .*Nothing is downloaded"):
        CIFAR10JPEG(root=str(jpegs), held_out=4).load()


def test_a_damaged_parquet_file_is_refused(jpegs):
    path = jpegs / "cifar10-test.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="is not a parquet file with the columns"):
        CIFAR10JPEG(root=str(jpegs), held_out=4).load()


@pytest.mark.parametrize(
    "columns",
    [
        {"picture": [{"bytes": b"", "path": ""}], "label": [0]},
        {"image": [b""], "label": [0]},
        {"image": [{"bytes": b"", "path": ""}], "label": ["cat"]},
    ],
)
def test_a_parquet_file_with_other_columns_is_refused(jpegs, columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), jpegs / "cifar10-test.parquet")
    with pytest.raises(DataError, match="is not a parquet file with the columns"):
        CIFAR10JPEG(root=str(jpegs), held_out=4).load()


@pytest.mark.parametrize(
    ("file", "label", "message"),
    [
        (b"not a picture", 0, "row 1: not a readable image"),
        (jpeg((0, 0, 0), size=(31, 32)), 0, r"row 1: the image has size \(31, 32\)"),
        (jpeg((0, 0, 0)), 10, "label 10 of image 1"),
        (jpeg((0, 0, 0)), None, "label -1 of image 1"),
    ],
)
def test_a_row_that_is_no_labelled_image_is_refused(jpegs, file, label, message):
    write_parquet(jpegs / "cifar10-test.parquet", [jpeg((0, 0, 0)), file], [0, label])
    with pytest.raises(DataError, match=message):
        CIFAR10JPEG(root=str(jpegs), held_out=4).load()
