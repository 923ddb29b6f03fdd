"""Full float32 wherever a number that counts is computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class _Switch(NamedTuple):
    """One of torch's settings: where it is kept, and its value for full float32."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    full: Any


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, float32 is float32, on every device; afterwards the caller's settings are back.

    torch takes convolutions on a GPU with 10-bit factors (TF32) unless told otherwise, and matrix
    products with 10 or 8 bits once told so. States and adjoints would then stop about where their
    tolerance lies, and a verdict would hang on the card. Also a decorator: `@full_precision()`.
    """
    before = [(switch, value) for switch in _switches() for value in _known(switch)]
    for switch, _ in before:
        switch.write(switch.full)
    try:
        yield
    finally:
        for switch, value in before:
            switch.write(value)


def is_full() -> bool:
    """Whether float32 is float32 here and now."""
    return all(value == switch.full for switch in _switches() for value in _known(switch))


def _switches() -> list[_Switch]:
    """The settings that every supported torch has, then those that took their place in 2.9.

    The first ones give no guarantee beside the second ones, which may be set on their own, and the
    second ones alone make a library that reads the first ones fail.
    """
    products = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    switches = [
        _attribute(torch.backends.cudnn, "allow_tf32", False),
        _Switch(*products, "highest"),
    ]
    if getattr(torch.backends, "fp32_precision", None) is None:
        return switches
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    operations = (
        cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn
    )  # type: ignore[attr-defined]  # fmt: skip
    return switches + [_attribute(each, "fp32_precision", "ieee") for each in operations]


def _attribute(owner: Any, name: str, full: Any) -> _Switch:
    return _Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), full)


def _known(switch: _Switch) -> list[Any]:
    """Its value, unless torch refuses to tell: the caller then set only what took its place."""
    try:
        return [switch.read()]
    except RuntimeError:
        return []
