import numpy as np
import pytest
import torch
from PIL import Image

from robustdeq.data.image_folder import ImageFolder
from robustdeq.errors import DataError


def paint(path, colour, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    for i in range(3):
        paint(tmp_path / f"train/cat/{i}.png", (51 * i, 0, 255))
        paint(tmp_path / f"train/ant/{i}.png", (0, 51 * i, 0))
    paint(tmp_path / "test/cat/a.png", (255, 0, 51))
    paint(tmp_path / "test/ant/b.png", (0, 0, 0))
    (tmp_path / "train/.hidden").write_text("not a class")
    return tmp_path


def test_classes_are_numbered_in_the_order_of_their_names(root):
    data = ImageFolder(root=str(root), held_out=2).load()
    assert data.classes == 2
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [4, 2, 2]
    assert data.test.labels.tolist() == [0, 1]
    assert data.shape == (3, 4, 6)
    colour = torch.tensor([255, 0, 51])[:, None, None] / 255
    torch.testing.assert_close(data.test.images[1], colour.expand(3, 4, 6), rtol=0, atol=0)


def test_grey_mode_gives_one_channel(root):
    assert ImageFolder(root=str(root), held_out=2, mode="L").load().shape == (1, 4, 6)


def test_images_of_two_sizes_are_refused_by_name(root):
    paint(root / "train/cat/3.png", (0, 0, 0), size=(5, 4))
    with pytest.raises(DataError, match=r"cat/3.png is \(3, 4, 5\).*resize"):
        ImageFolder(root=str(root), held_out=2).load()


def test_what_is_no_image_is_skipped_with_a_count(root):
    (root / "train/cat/README.txt").write_text("hello")
    (root / "train/Thumbs.db").write_bytes(b"")
    (root / "test/ant/more").mkdir()
    data = ImageFolder(root=str(root), held_out=2).load()
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [4, 2, 2]
    assert data.classes == 2
    assert data.notes == (
        f"3 files or folders are no images and were skipped, first {root}/train/Thumbs.db",
    )


def test_nothing_is_noted_of_images_alone(root):
    assert ImageFolder(root=str(root), held_out=2).load().notes == ()


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_damaged_image_is_refused_by_name(root, content):
    (root / "train/cat/1.PNG").write_bytes(content)
    with pytest.raises(DataError, match=r"cat/1.PNG: not a readable image"):
        ImageFolder(root=str(root), held_out=2).load()


def test_an_image_of_a_format_that_is_not_read_is_refused_by_name(root):
    (root / "train/cat/1.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat/1.heic is of a format that is not read here"):
        ImageFolder(root=str(root), held_out=2).load()


@pytest.mark.parametrize("place", ["train/cat/4.png", "train/dog"])
def test_a_link_to_nothing_is_refused_by_name(root, place):
    (root / place).symlink_to(root / "gone")
    with pytest.raises(DataError, match=f"{place} is a link to nothing"):
        ImageFolder(root=str(root), held_out=2).load()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_refused_by_name(root, part):
    for each in ("train", "test"):
        paint(root / f"{each}/dog/0.png", (0, 0, 0))
    (root / f"{part}/dog/0.png").rename(root / f"{part}/dog/0.txt")
    with pytest.raises(DataError, match=rf"{part}/dog holds no images"):
        ImageFolder(root=str(root), held_out=2).load()


def test_names_are_sorted_by_code_points_whatever_the_platform(root):
    for part in ("train", "test"):
        paint(root / f"{part}/Zebra/0.png", (255, 255, 255))
    data = ImageFolder(root=str(root), held_out=2).load()
    assert data.test.images[data.test.labels == 0].min() == 1


def test_gray_of_16_bits_is_read_to_its_last_level(tmp_path):
    for part, name, level in (
        ("train", "ant", 0), ("train", "cat", 1), ("train", "cat", 2), ("test", "ant", 40000),
        ("test", "cat", 65535),
    ):  # fmt: skip
        path = tmp_path / part / name / f"{level}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), level, dtype=np.uint16)).save(path)
    data = ImageFolder(root=str(tmp_path), held_out=1, mode="L").load()
    levels = torch.tensor([40000, 65535], dtype=torch.float64) / 65535
    assert torch.equal(data.test.images[:, 0, 0, 0], levels.float())


def test_a_16_bit_file_among_others_is_refused_by_name(root):
    Image.fromarray(np.zeros((4, 6), dtype=np.uint16)).save(root / "train/cat/3.png")
    with pytest.raises(DataError, match=r"cat/3.png is \(3, 4, 6\) of 16 bits"):
        ImageFolder(root=str(root), held_out=2).load()


def test_a_class_that_is_only_in_one_split_is_refused(root):
    paint(root / "test/dog/a.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"train has the classes \['ant', 'cat'\], test has"):
        ImageFolder(root=str(root), held_out=2).load()


def test_a_missing_folder_is_named_with_the_layout_it_should_have(root):
    with pytest.raises(DataError, match=r"expected train/CLASS/FILE and test/CLASS/FILE below"):
        ImageFolder(root=str(root / "elsewhere"), held_out=2).load()


def test_folders_without_images_are_refused(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        ImageFolder(root=str(tmp_path), held_out=1).load()
