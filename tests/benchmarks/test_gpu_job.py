"""The whole job of a GPU, rehearsed at toy size on a CPU."""

import json

import pytest
import torch

from benchmarks import gpu

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two epochs of a small network on the digits, four images attacked."""
    out = tmp_path_factory.mktemp("gpu")
    return gpu.Job(torch.device("cpu"), None, out, minutes=0.01, images=4, epochs=2)


def test_a_training_is_kept_and_attacked(job):
    said = gpu.training(job)
    assert "1 epochs" in said
    assert json.loads((job.out / "training" / "epochs.json").read_text())["epochs"] == 1
    assert "of 4 images at radius 3/16" in gpu.cascade(job)


def test_a_training_that_was_killed_goes_on(job):
    first = gpu.training(job)
    assert (job.out / "training" / "state.safetensors").exists()
    assert gpu.training(job) == first
