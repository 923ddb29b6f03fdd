"""The device and the threads that a run computes on."""

import torch

from robustdeq.errors import SpecError


def prepare(device: str, threads: int | None) -> torch.device:
    """The device a user names; "auto" takes the GPU where there is one.

    Args:
        threads: CPU threads for this process; None leaves torch's own choice.

    Raises:
        SpecError: cuda is asked for and not there, or threads is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise SpecError(f"--threads {threads}; expected at least 1")
        torch.set_num_threads(threads)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError("device 'cuda' is not available here; use --device cpu, or auto")
    return torch.device(device)
