"""Figures that took minutes, kept so that an interrupted command goes on.

They lie below `runs/`; those that took hours are committed, so that a page can be made anew without
them, and measured anew in any other folder.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

from robustdeq.results.store.files import read_text, write

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
MEASURED = ROOT / "results" / "measured"
T = TypeVar("T")


def kept(path: Path, measure: Callable[[], T]) -> T:
    """What a JSON file holds; measured, and written, where there is none yet.

    Args:
        measure: returns plain data, the same after a round trip through JSON.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not path.exists():
        write(path, json.dumps(measure()).encode())
    return json.loads(read_text(path))


def fingerprint(network: nn.Module) -> str:
    """Eight digits that another set of weights does not share."""
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:8]
