"""A device that is not there: tensors on it refuse to meet tensors on the CPU, as a GPU's do.

    with pretend_device() as device:
        model.to(device)(x.to(device))

Its tensors hold ordinary ones and compute with them, but say `device(type="meta")`. An operation
that is given tensors of both kinds raises, unless it is a copy or the stray one is a single number,
which a GPU takes as well. An index on the CPU raises too: a GPU would take it and wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
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


class _Literals(TorchFunctionMode):
    """`torch.tensor` builds its answer on the device unseen; here it is built first, and moved."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device} | kwargs
            func, args = torch.tensor, args[1:]
        literal = func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor)
        if literal and kwargs.get("device") == HERE:
            return func(*args, **(kwargs | {"device": None})).to(HERE)
        return func(*args, **kwargs)


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """Inside, the device exists."""
    with _Literals(), _Mode():
        yield HERE


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
    if func is aten._local_scalar_dense.default or not stays:
        return answer
    return tree_map_only(
        Tensor, lambda t: owners[id(t)] if id(t) in owners else PretendTensor(t), answer
    )
