"""Images and labels that mean something else than they have to are told so, each by its cause."""

import pytest
import torch

from robustdeq.data.base import DataSet, Split
from robustdeq.data.checks import check_first
from robustdeq.errors import DataError

LABELS = torch.arange(6) % 2


def images():
    return torch.rand(6, 1, 2, 2)


CAUSES = {
    "rounding below": (lambda x: x.index_fill(0, torch.tensor([1]), -3e-8), "rounding noise"),
    "rounding above": (lambda x: x.index_fill(0, torch.tensor([1]), 1 + 1.2e-7), "rounding noise"),
    "bytes": (lambda x: (255 * x).round() + 1, "white level, 255"),
    "sixteen bits": (lambda x: 65535 * x + 300, "white level, 65535"),
    "from -1 to 1": (lambda x: 2 * x - 1, "[-1, 1]"),
    "normalized": (lambda x: (x - 0.5) / 0.2, "undo the normalization"),
    "a single NaN": (lambda x: x.index_fill(3, torch.tensor([0]), torch.nan), "repair or drop"),
    "NaN among bytes": (lambda x: 255 * x / x.ceil().sub(x.lt(0.5).float()), "repair or drop"),
}


@pytest.mark.parametrize(("spoil", "cause"), CAUSES.values(), ids=CAUSES)
def test_pixels_outside_the_range_are_told_by_their_cause(spoil, cause):
    torch.manual_seed(0)
    with pytest.raises(DataError, match=r"expected \[0, 1\]: ") as caught:
        Split(spoil(images()), LABELS)
    assert cause in str(caught.value)
    assert ("white level" in str(caught.value)) == ("white level" in cause)


@pytest.mark.parametrize(
    ("labels", "step"),
    [
        (torch.eye(6, dtype=torch.int64), r"labels.argmax\(1\)"),
        (LABELS[:, None], r"labels\[:, 0\]"),
    ],
)
def test_labels_of_two_axes_are_told_how_to_lose_one(labels, step):
    with pytest.raises(DataError, match=step):
        Split(images(), labels)


def test_gray_images_without_their_axis_are_told_to_add_it():
    with pytest.raises(DataError, match=r"images\[:, None\] for gray"):
        Split(torch.rand(6, 2, 2), LABELS)


def data(test_labels, classes=2, **changes):
    return DataSet(
        Split(images(), LABELS), Split(images(), LABELS),
        Split(changes.get("test", images()), test_labels), classes=classes,
    )  # fmt: skip


def test_one_class_is_no_task():
    with pytest.raises(DataError, match="1 class, of which every answer is right"):
        data(0 * LABELS, classes=1)


def test_a_test_split_of_one_class_is_refused():
    with pytest.raises(DataError, match="all 6 test images are of class 1; a constant answer"):
        data(0 * LABELS + 1)


def test_a_test_split_that_is_the_training_split_is_refused():
    training = Split(images(), LABELS)
    with pytest.raises(DataError, match="6 of 6 test images are training images, too"):
        DataSet(training, Split(images(), LABELS), training, classes=2).examined()


def test_single_training_images_in_the_test_split_are_noted():
    training, test = Split(images(), LABELS), images()
    test[4] = training.images[1]
    whole = DataSet(training, Split(images(), LABELS), Split(test, LABELS), classes=2)
    assert whole.examined().notes == ("1 of 6 test images are training images, too",)


def test_a_class_that_is_never_trained_on_is_noted():
    (note,) = data(LABELS + torch.arange(6) // 4, classes=3).examined().notes
    assert note == "no training image has class 2, of which there are test images"


def test_nothing_is_noted_of_a_sound_set():
    assert data(LABELS).examined().notes == ()


def test_the_first_images_of_files_in_random_order_pass_however_few_they_are():
    labels = torch.randperm(500, generator=torch.Generator().manual_seed(0)) % 10
    for n in (1, 2, 3, 5, 10, 20, 100, 500):
        check_first(labels, n)


@pytest.mark.parametrize("n", [10, 20, 300, 450])
def test_the_first_images_of_files_sorted_by_class_are_refused(n):
    labels = (torch.arange(500) // 50).long()
    with pytest.raises(DataError, match=f"the first {n} of 500 images hold {-(-n // 50)} of 10"):
        check_first(labels, n)


def test_images_that_are_all_there_are_pass():
    check_first(torch.arange(500) // 50, 500)
