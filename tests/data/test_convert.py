"""What a notebook hands over becomes a tensor where no value changes; else a sentence says why."""

import numpy as np
import pytest
import torch

from robustdeq.data.convert import images_of, labels_of
from robustdeq.errors import DataError

QUARTERS = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2) / 8
PIXELS = torch.from_numpy(QUARTERS.copy())


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        QUARTERS,
        QUARTERS.tolist(),
        QUARTERS.astype(np.float64),
        QUARTERS.astype(np.float16),
        QUARTERS.astype(">f4"),
        PIXELS.bfloat16(),
        list(PIXELS),
        QUARTERS[::-1][::-1],
        np.asfortranarray(QUARTERS),
    ],
    ids=["tensor", "array", "lists", "float64", "float16", "big-endian", "bfloat16", "list of "
         "tensors", "reversed twice", "Fortran order"],
)  # fmt: skip
def test_images_of_any_float_type_keep_every_value(given):
    found = images_of(given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, PIXELS, rtol=0, atol=0)


def test_an_array_that_runs_backwards_is_read_as_it_is_written():
    torch.testing.assert_close(images_of(QUARTERS[::-1]), PIXELS.flip(0), rtol=0, atol=0)


def test_an_array_and_its_tensor_share_no_memory_that_a_caller_may_not_write():
    array = QUARTERS.copy()
    array.flags.writeable = False
    assert torch.equal(images_of(array), PIXELS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.ones(2, 1, 2, 2, dtype=torch.uint8), "divide by the white level"),
        (torch.ones(2, 1, 2, 2, dtype=torch.bool), "images are torch.bool"),
        (torch.full((2, 1, 2, 2), 0.1, dtype=torch.float64), "round them yourself"),
        ([[[0.5]], [[0.5, 0.25]]], "images are no array of numbers"),
        (np.array([["a"]]), "images are no array of numbers"),
        ("cat.png", "images are a str; expected a tensor or an array"),
        (None, "images are a NoneType"),
    ],
)
def test_images_of_another_meaning_are_refused(given, said):
    with pytest.raises(DataError, match=said):
        images_of(given)


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_labels_of_any_integer_type_are_class_numbers(kind):
    for given in (np.array([3, 0, 1], dtype=kind), torch.from_numpy(np.array([3, 0, 1], kind))):
        assert labels_of(given).dtype == torch.int64
        assert labels_of(given).tolist() == [3, 0, 1]
    assert labels_of([3, 0, 1]).tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.tensor([0.0, 1.0]), "labels are torch.float32 of shape"),
        (torch.tensor([True, False]), "labels are torch.bool"),
        (torch.eye(3), r"after argmax\(1\) if they are one-hot"),
        (["cat", "dog"], "labels are no array of numbers"),
        ([[0], [1, 2]], "labels are no array of numbers"),
        (range, "labels are a type"),
    ],
)
def test_labels_of_another_meaning_are_refused(given, said):
    with pytest.raises(DataError, match=said):
        labels_of(given)
