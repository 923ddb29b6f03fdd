from importlib import resources

import numpy as np
import pytest
import torch

from robustdeq.data.digits import Digits


@pytest.fixture(scope="module")
def data():
    return Digits().load()


def test_the_digits_are_the_published_split(data):
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [1097, 200, 500]
    assert data.shape == (1, 8, 8)
    assert data.classes == 10


def test_the_digits_never_change(data):
    assert data.train.digest() == (
        "967fa77092fefbadf48dc55a0726c7b569ee0887293f25198db703ee889b2bd2"
    )
    assert data.held_out.digest() == (
        "6ccdaee67591b91b0a04b342e50c0373158035471de406841839a3a23419ded4"
    )
    assert data.test.digest() == (
        "535bbea8728dd682b9c7a307136b1eb314f7dfb481e2499c4915bdd4cea62238"
    )


def test_pixels_are_sixteenths_from_black_to_white(data):
    levels = data.train.images.unique()
    torch.testing.assert_close(levels, torch.arange(17) / 16, rtol=0, atol=0)


def test_every_digit_is_in_every_split(data):
    for part in (data.train, data.held_out, data.test):
        assert part.labels.bincount(minlength=10).min() > 0


def test_the_three_index_lists_share_the_1797_images_among_them():
    file = resources.files("robustdeq.data") / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        rows = np.concatenate([stored["train"], stored["held_out"], stored["test"]])
    assert np.array_equal(np.sort(rows), np.arange(1797))
