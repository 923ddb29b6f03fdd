"""Figures that took minutes, kept below `runs/` so that an interrupted command goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from robustdeq.results.files import read_text, write

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
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
