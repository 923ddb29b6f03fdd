"""Weights on disk come back bit for bit, or not at all."""

import pickle
from hashlib import sha256

import pytest
import torch

from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError
from robustdeq.testing.toys import TASK, tiny_deq
from robustdeq.training.central import build
from robustdeq.training.checkpoint import load_checkpoint, save_checkpoint


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "weights.safetensors", tiny_deq())
    return tmp_path / "weights.safetensors"


def test_weights_come_back_bitwise_under_their_digest(path):
    saved, other = tiny_deq(), tiny_deq(seed=1)
    digest = load_checkpoint(path, other, sha256(path.read_bytes()).hexdigest())
    assert_same(saved.state_dict(), other.state_dict())
    assert digest == save_checkpoint(path.with_name("again.safetensors"), other)


def test_another_file_than_the_recorded_one_is_refused(path):
    recorded = sha256(path.read_bytes()).hexdigest()
    save_checkpoint(path, tiny_deq(seed=1))
    with pytest.raises(CheckpointError, match=f"but {recorded[:16]}... was recorded; restore"):
        load_checkpoint(path, tiny_deq(), recorded)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.99])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="is truncated or no safetensors file"):
        load_checkpoint(path, tiny_deq())


def test_other_widths_are_refused_by_tensor(path):
    message = r"has shape .*, the model expects .*: it belongs to another architecture; check"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, tiny_deq(channels=8))


def test_another_architecture_is_refused_by_tensor(path):
    explicit = build(Entrant(Explicit()), TASK)
    with pytest.raises(CheckpointError, match=r"lacks tensor 'body.* another architecture"):
        load_checkpoint(path, explicit)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(path, value):
    broken = tiny_deq()
    broken.head[2].bias.data[1] = value
    save_checkpoint(path, broken)
    with pytest.raises(CheckpointError, match=r"'head\.2\.bias' holds values that are not finite"):
        load_checkpoint(path, tiny_deq())


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (self.path.write_text, ("it ran",))


@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_is_refused_and_never_opened(path, dump):
    opened = path.with_name("opened")
    with path.open("wb") as file:
        dump(Trap(opened), file)
    with pytest.raises(CheckpointError, match="is a pickle, which can run code"):
        load_checkpoint(path, tiny_deq())
    assert not opened.exists()


def test_a_refused_checkpoint_leaves_the_model_as_it_was(path):
    model = tiny_deq(channels=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_checkpoint(path, model)
    assert_same(before, model.state_dict())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*none.safetensors: No"):
        load_checkpoint(tmp_path / "none.safetensors", tiny_deq())
