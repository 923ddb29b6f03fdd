"""How many rows are attacked together."""

import math

import torch

from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork

_NUMBERS = 2**20  # of state in a chunk on a CPU
_FEWEST, _MOST = 16, 1024
_UNKNOWN = 2048  # numbers a row, of networks without a state: as if it were the stock one's
_STATES = 90  # kept for a row at once, at most, by the costliest view of a row that converges
_SHARE = 1 / 4  # of the free memory; a solve that uses its whole budget keeps some times as much
_BYTES = 4  # a number


def chunk_size(numbers: int, device: torch.device) -> int:
    """Rows of `numbers` numbers each, on a device: a power of two from 16 to 1,024.

    Rows converge one by one, and an evaluation of the last few costs about as much as one of many:
    the more rows start together the better (512 of the stock cell's 2,048 numbers), and a GPU wants
    to be filled. Memory bounds it: a gradient through a solver keeps every step of every row.
    Nothing but speed and rounding hangs on it, and records have it.
    `python -m benchmarks.timing.scaling --chunk` compares sizes.
    """
    if device.type != "cuda":
        return _power_of_two(_NUMBERS / max(numbers, 1))
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(numbers, free)


def fitting(numbers: int, free: int) -> int:
    """Rows of `numbers` numbers each that a card with so many free bytes attacks together.

        rows = free / 4 / (90 states * numbers * 4 bytes)

    as a power of two from 16 to 1,024. The exact view keeps up to 90 states of a row while it is
    attacked, the one through the solver as many where a row converges in some twenty steps.
    """
    return _power_of_two(_SHARE * free / (_STATES * max(numbers, 1) * _BYTES))


def state_size(classifier: Classifier) -> int:
    """Numbers in one row's state."""
    if isinstance(classifier, EquilibriumNetwork) and classifier.state:
        return math.prod(classifier.state)
    return _UNKNOWN


def _power_of_two(rows: float) -> int:
    return 2 ** int(math.log2(min(max(rows, _FEWEST), _MOST)))
