"""How many rows are attacked together."""

import math

from robustdeq.models.base import Classifier
from robustdeq.models.deq import DEQClassifier

_NUMBERS = {"cpu": 2**18, "cuda": 2**21}  # of state in a chunk: a core's cache, a filled GPU
_FEWEST, _MOST = 16, 1024
_UNKNOWN = 2048  # numbers a row, of networks without a state: as if it were the stock one's


def chunk_size(numbers: int, device: str) -> int:
    """Rows of `numbers` numbers each, for a class of device: a power of two from 16 to 1,024.

    A solver's history is a few times the state, and a core is quickest while both stay in its cache
    (128 rows of the stock cell's 2,048 numbers); a GPU wants to be filled. Nothing but speed and
    rounding hangs on it, and records have it.
    """
    rows = _NUMBERS[device] // max(numbers, 1)
    return 2 ** int(math.log2(min(max(rows, _FEWEST), _MOST)))


def state_size(classifier: Classifier) -> int:
    """Numbers in one row's state."""
    return math.prod(classifier.state) if isinstance(classifier, DEQClassifier) else _UNKNOWN
