"""The chunk size is a pure function of the state's size and the class of device."""

import pytest

from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.testing.toys import TASK


@pytest.mark.parametrize(
    ("numbers", "device", "rows"),
    [
        (2048, "cpu", 512),
        (2048, "cuda", 1024),
        (61440, "cpu", 16),
        (61440, "cuda", 32),
        (10**6, "cpu", 16),
        (87, "cpu", 1024),
        (3000, "cpu", 256),
    ],
)
def test_the_larger_the_state_the_fewer_rows(numbers, device, rows):
    assert chunk_size(numbers, device) == rows


def test_a_state_is_counted_in_numbers():
    assert state_size(Vanilla(channels=8).build(TASK)) == 8 * 64
    assert chunk_size(state_size(Explicit().build(TASK)), "cpu") == 512
