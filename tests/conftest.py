"""What every test gets: one thread, no seed, and a reason where a GPU is missing."""

import pytest
import torch


def pytest_configure():
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))
