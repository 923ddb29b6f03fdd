"""The chunk size is a pure function of the state's size and of the memory there is."""

import pytest
import torch

from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.engines.chunks import chunk_size, fitting, state_size
from robustdeq.testing.toys import TASK

CPU = torch.device("cpu")
GIB = 2**30
IMAGENET_LIKE = 64 * 32 * 32


@pytest.mark.parametrize(
    ("numbers", "rows"),
    [(2048, 512), (61440, 16), (10**6, 16), (87, 1024), (3000, 256)],
)
def test_the_larger_the_state_the_fewer_rows(numbers, rows):
    assert chunk_size(numbers, CPU) == rows


@pytest.mark.parametrize(
    ("numbers", "free", "rows"),
    [
        (IMAGENET_LIKE, 139 * GIB, 1024),  # it was 32, whatever the card
        (IMAGENET_LIKE, 40 * GIB, 256),
        (IMAGENET_LIKE, 8 * GIB, 64),
        (2048, 8 * GIB, 1024),
        (IMAGENET_LIKE, GIB // 8, 16),
    ],
)
def test_a_card_s_free_memory_says_how_many_rows_it_takes(numbers, free, rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert chunk_size(numbers, torch.device("cuda")) == fitting(numbers, free) == rows


@pytest.mark.parametrize("free", [GIB, 24 * GIB, 80 * GIB])
@pytest.mark.parametrize("numbers", [2048, 16384, IMAGENET_LIKE])
def test_ninety_states_of_every_row_take_a_quarter_of_it_at_most(numbers, free):
    rows = fitting(numbers, free)
    assert rows == 16 or rows * 90 * numbers * 4 <= free / 4


def test_a_state_is_counted_in_numbers():
    assert state_size(Vanilla(channels=8).build(TASK)) == 8 * 64
    assert chunk_size(state_size(Explicit().build(TASK)), CPU) == 512
