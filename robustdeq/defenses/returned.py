"""What hooks return, held against their contract where it is used: named by chain and hook."""

import json
from typing import Any

import torch
from torch import Tensor

from robustdeq.errors import ContractViolation
from robustdeq.models.base import Classifier, Prediction


def tensor(value: Any, hook: str, wanted: tuple[int | str, ...]) -> Tensor:
    """A hook's tensor.

    Args:
        hook: the chain and the hook's name, for messages.
        wanted: its shape; a word stands for any size.

    Raises:
        ContractViolation: it is something else, or has another shape.
    """
    if isinstance(value, Tensor) and value.is_floating_point() and _fits(value.shape, wanted):
        return value
    shape = f"({', '.join(map(str, wanted))}{',' if len(wanted) == 1 else ''})"
    raise ContractViolation(
        f"{hook} returns {_about(value)}; expected a floating-point tensor of shape {shape}"
    )


def prediction(value: Any, hook: str, count: int) -> Prediction:
    """A deployed answer that accounts for each of `count` rows.

    Raises:
        ContractViolation: it is something else, or not an answer a row.
    """
    if not isinstance(value, Prediction):
        raise ContractViolation(
            f"{hook} returns {_about(value)}; expected a Prediction: what "
            f"`target.classifier.predict(x)` returns, or Prediction(logits, nfe, residual, "
            f"converged) with a row for each image"
        )
    tensor(value.logits, f"{hook} in `logits`", (count, "classes"))
    for name in ("nfe", "residual", "converged"):
        part = getattr(value, name)
        if not isinstance(part, Tensor) or part.shape != (count,):
            raise ContractViolation(
                f"{hook} returns in `{name}` {_about(part)}; expected a tensor of shape ({count},)"
            )
    return value


def network(value: Any, hook: str) -> Classifier:
    """What a defense builds.

    Raises:
        ContractViolation: it is no classifier.
    """
    if not isinstance(value, Classifier):
        raise ContractViolation(
            f"{hook} returns {_about(value)}; expected a network that inherits "
            f"robustdeq.models.base.Classifier"
        )
    return value


def plain(value: Any, hook: str) -> dict[str, Any]:
    """A calibration, which has to be a dict that JSON keeps as it is.

    Raises:
        ContractViolation: it is not.
    """
    try:
        kept = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        kept = error
    if not isinstance(value, dict) or kept != value:
        raise ContractViolation(
            f"{hook} returns {value!r}, of which JSON makes {kept!r}; expected a dict of texts, "
            f"finite numbers and lists: convert tensors with `.tolist()`"
        )
    return value


def _fits(shape: torch.Size, wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(size, str) or size == found for found, size in zip(shape, wanted, strict=True)
    )


def _about(value: Any) -> str:
    """What came instead, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
