"""What every test gets: one thread, no seed, checked shapes, a reason where a GPU is missing."""

import jaxtyping
import pytest
import torch


def pytest_configure():
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    # The longest begin first: no worker is left alone with one of them at the end.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))


def pytest_runtest_setup(item):
    """Shapes are checked at every call, but not in slow tests: it takes as long as the calls do."""
    slow = item.get_closest_marker("slow") is not None
    jaxtyping.config.update("jaxtyping_disable", slow)
