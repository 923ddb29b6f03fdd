"""Weights on disk: safetensors, loaded strictly, never unpickled."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from robustdeq.errors import CheckpointError
from robustdeq.results.store.files import write

_PICKLES = (b"PK\x03\x04", b"\x80")  # a zip archive of torch.save, a bare pickle


def save_checkpoint(path: Path, model: nn.Module) -> str:
    """Write a model's parameters and buffers; returns the SHA-256 (hex) of the file.

    Raises:
        StoreError: the folder cannot be written.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    content = save(tensors, {"format": "pt"})
    write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_checkpoint(path: Path, model: nn.Module, digest: str | None = None) -> str:
    """Fill a model of the same architecture; returns the file's SHA-256 (hex).

    Args:
        digest: what the file must hash to, where that is known.

    Raises:
        CheckpointError: the file is missing, truncated, a pickle, of another architecture, not the
            recorded one, or holds a weight that is not finite.
    """
    content = _read(path)
    if content.startswith(_PICKLES):
        raise CheckpointError(
            f"{path} is a pickle, which can run code when it is read; convert it to safetensors"
        )
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise CheckpointError(
            f"{path} has digest {found[:16]}..., but {digest[:16]}... was recorded; restore the "
            f"recorded file, or train into another results folder"
        )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({error}); delete it to train it again"
        ) from None
    _fill(path, model, tensors)
    return found


def _fill(path: Path, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    wanted = model.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        where = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(
            f"{path} {where} tensor {name!r}: it belongs to another architecture; check the "
            f"entrant's specification"
        )
    for name, tensor in sorted(tensors.items()):
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, the model expects "
                f"{tuple(wanted[name].shape)}: it belongs to another architecture; check the "
                f"entrant's specification"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{path}: tensor {name!r} holds values that are not finite; delete the file to "
                f"train it again"
            )
    model.load_state_dict(tensors)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from None
