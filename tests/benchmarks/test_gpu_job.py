"""The whole job of a GPU, rehearsed at toy size on a CPU."""

import json

import pytest
import torch
from pretend_device import pretend_device

from benchmarks import gpu
from benchmarks.timing.attacks import meet
from benchmarks.timing.contests import pgd
from benchmarks.timing.subjects import find_subject

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


def test_the_whole_of_it_runs_on_a_device_that_refuses_to_mix(tmp_path):
    with pretend_device() as device:
        there = gpu.Job(device, None, tmp_path, minutes=0.01, images=2, epochs=1)
        gpu.training(there)
        assert "of 2 images" in gpu.cascade(there)


def test_a_contest_runs_there_too():
    with pretend_device() as device:
        case = find_subject("stock").on(device)
        split = case.data.test.take(2)
        scores = meet(case, pgd(case, split, steps=1, fast_steps=(2,)), split, 1, 0.5)
        find_subject("stock").on(torch.device("cpu"))
    assert len(scores) == 2
