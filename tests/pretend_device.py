"""A device that is not there: tensors on it refuse to meet tensors on the CPU, as a GPU's do.

    with pretend_device() as device:
        model.to(device)(x.to(device))

Its tensors hold ordinary ones and compute with them, but say `device(type="meta")`. An operation
that is given tensors of both kinds raises, unless it is a copy or the stray one is a single number,
which a GPU takes as well. An index on the CPU raises too: a GPU would take it and wait.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

aten = torch.ops.aten
HERE = torch.device("meta")
_COPIES = (aten._to_copy.default, aten.copy_.default)


class DeviceMismatch(RuntimeError):
    """Tensors of two devices met."""


class PretendTensor(Tensor):
    """A tensor on the pretend device; `held` is where its numbers are."""

    held: Tensor
    is_meta = False  # it has numbers, so that loading weights into it is no empty gesture

    @staticmethod
    def __new__(cls, held: Tensor):
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=HERE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.held!r})"


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _literal(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor` fills a tensor on its device unseen; here it is filled first, and moved."""

    def built(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device) != HERE or isinstance(data, Tensor):
            return build(data, *args, device=device, **kwargs)
        return build(data, *args, **kwargs).to(HERE)

    return built


def _new_tensor(like: Tensor, data: Any, **kwargs: Any) -> Tensor:
    return torch.tensor(data, **({"dtype": like.dtype, "device": like.device} | kwargs))


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """Inside, the device exists."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    # Otherwise `module.double()` changes what a tensor says of itself, and not what it holds.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            patch.object(torch, "tensor", _literal(torch.tensor)),
            patch.object(torch, "as_tensor", _literal(torch.as_tensor)),
            patch.object(Tensor, "new_tensor", _new_tensor),
            _Mode(),
        ):
            yield HERE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _run(func, args: tuple, kwargs: dict) -> Any:
    given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    here = [tensor for tensor in given if isinstance(tensor, PretendTensor)]
    strays = [tensor for tensor in given if not isinstance(tensor, PretendTensor) and tensor.ndim]
    if here and strays and func not in _COPIES:
        raise DeviceMismatch(
            f"{func}: a tensor of shape {tuple(strays[0].shape)} on the CPU met one on the device"
        )
    if func is aten.copy_.default:
        stays = isinstance(args[0], PretendTensor)
    elif "device" in kwargs and kwargs["device"] is not None:
        stays = kwargs["device"] == HERE
    else:
        stays = bool(here)
    owners = {id(tensor.held): tensor for tensor in here}
    inner_args, inner_kwargs = tree_map_only(PretendTensor, lambda t: t.held, (args, kwargs))
    if inner_kwargs.get("device") == HERE:
        inner_kwargs["device"] = torch.device("cpu")
    if func is aten._to_copy.default and stays != bool(here):
        inner_kwargs["dtype"] = inner_kwargs.get("dtype") or args[0].dtype
    answer = func(*inner_args, **inner_kwargs)
    if torch.Tag.inplace_view in func.tags:
        with no_dispatch():
            func(*args, **kwargs)  # the shape that the tensor says it has
    if func is aten._local_scalar_dense.default or not stays:
        return answer
    return tree_map_only(
        Tensor, lambda t: owners[id(t)] if id(t) in owners else PretendTensor(t), answer
    )
