"""Torch's global state: what an evaluation needs of it, whatever its caller has set."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from robustdeq.precision import full_precision


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Run under torch's defaults, and leave everything global as it was.

    Inside: full float32 (`full_precision`), gradients on, no inference mode, no autocast, no
    anomaly detection (one row's NaN is data here), float32 and the CPU for tensors that name
    neither type nor device, and no insistence on deterministic algorithms, which raises where an
    operation has none. The random generators of torch, numpy and Python are restored on the way
    out, also when the work raises. Also a decorator.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with ExitStack() as entered:
            entered.enter_context(torch.inference_mode(False))
            entered.enter_context(torch.enable_grad())
            for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
                entered.enter_context(torch.autocast(device, enabled=False))
            entered.enter_context(torch.autograd.set_detect_anomaly(False))
            generators = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
            entered.enter_context(torch.random.fork_rng(devices=generators))
            if torch.get_default_device() != torch.device("cpu"):  # a mode that costs every call
                entered.enter_context(torch.device("cpu"))
            entered.enter_context(full_precision())
            torch.set_default_dtype(torch.float32)
            _insist(False)
            yield
    finally:
        _insist(deterministic, warn_only)
        torch.set_default_dtype(dtype)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def _insist(wanted: bool, warn_only: bool = False) -> None:
    """Insist on deterministic algorithms or not; torch imports its compiler where it is told so."""
    if torch.are_deterministic_algorithms_enabled() != wanted:
        torch.use_deterministic_algorithms(wanted, warn_only=warn_only)
