"""Images and labels as callers have them: converted where that changes no value, else refused."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustdeq.errors import DataError

_FLOATS = (torch.float16, torch.bfloat16, torch.float64)


def images_of(given: Any) -> Tensor:
    """A float32 tensor of a tensor, an array or nested lists of floats.

    Raises:
        DataError: it is something else, or a pixel has no float32 value.
    """
    images = _tensor("images", given)
    if images.dtype == torch.float32:
        return images
    if images.dtype not in _FLOATS:
        raise DataError(
            f"images are {images.dtype}; expected float32 in [0, 1]: divide by the white level, "
            f"255 where pixels are bytes"
        )
    exact = images.to(torch.float32)
    if not torch.equal(exact.to(images.dtype).nan_to_num(), images.nan_to_num()):
        raise DataError(
            f"images are {images.dtype} with values between two of float32, which networks read; "
            f"round them yourself, with astype('float32') or to(torch.float32)"
        )
    return exact


def labels_of(given: Any) -> Tensor:
    """An int64 tensor of a tensor, an array or a list of whole numbers.

    Raises:
        DataError: it is something else.
    """
    labels = _tensor("labels", given)
    if not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        return labels.to(torch.int64)
    step = ", after argmax(1) if they are one-hot" if labels.ndim == 2 else ""
    raise DataError(
        f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected (N,) class numbers of "
        f"an integer type{step}"
    )


def _tensor(what: str, given: Any) -> Tensor:
    if isinstance(given, Tensor):
        return given
    if not isinstance(given, (np.ndarray, list, tuple)):
        raise DataError(f"{what} are a {type(given).__name__}; expected a tensor or an array")
    try:
        array = _array(given)
        native = array.astype(array.dtype.newbyteorder("="))  # and without negative strides
        return torch.from_numpy(native)
    except (ValueError, TypeError) as error:
        raise DataError(f"{what} are no array of numbers ({error}); give a tensor") from None


def _array(given: "np.ndarray | list | tuple") -> np.ndarray:
    """An array of arrays, or of a list of arrays, tensors or numbers."""
    if isinstance(given, np.ndarray):
        return np.ascontiguousarray(given)
    return np.array(
        [each.numpy(force=True) if isinstance(each, Tensor) else each for each in given]
    )
