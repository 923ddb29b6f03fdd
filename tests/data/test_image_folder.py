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


def test_a_file_that_is_no_image_is_refused_by_name(root):
    (root / "train/cat/notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"cat/notes.txt is not a readable image"):
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
