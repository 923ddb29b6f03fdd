"""How many rows are attacked together."""

import math

from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork

_NUMBERS = {"cpu": 2**20, "cuda": 2**21}  # of state in a chunk
_FEWEST, _MOST = 16, 1024
_UNKNOWN = 2048  # numbers a row, of networks without a state: as if it were the stock one's


def chunk_size(numbers: int, device: str) -> int:
    """Rows of `numbers` numbers each, for a class of device: a power of two from 16 to 1,024.

    Rows converge one by one, and an evaluation of the last few costs about as much as one of many:
    the more rows start together the better (512 of the stock cell's 2,048 numbers), and a GPU wants
    to be filled. Memory bounds it: a gradient through a solver keeps every step of every row.
    Nothing but speed and rounding hangs on it, and records have it.
    `python -m benchmarks.timing.scaling --chunk` compares sizes.
    """
    rows = _NUMBERS[device] // max(numbers, 1)
    return 2 ** int(math.log2(min(max(rows, _FEWEST), _MOST)))


def state_size(classifier: Classifier) -> int:
    """Numbers in one row's state."""
    if isinstance(classifier, EquilibriumNetwork) and classifier.state:
        return math.prod(classifier.state)
    return _UNKNOWN
