"""Where a search without gradients starts its solves: at the state of its best point so far."""

from collections.abc import Callable
from typing import Generic, TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.models.anchored import AnchoredStates
from robustdeq.models.rows import RowStore
from robustdeq.objectives.base import Objective

S = TypeVar("S", RowStore, AnchoredStates)


class BestStates(Generic[S]):
    """The state of each row's highest value, under one objective.

    A search compares proposals with its best point. Both started from one state, most of what the
    tolerance leaves of their errors is common and cancels. Values of two objectives cannot be
    compared, so another one starts anew: scores of the first would keep its own from ever counting.

    Args:
        make: an empty store of states.
    """

    def __init__(self, make: Callable[[], S]):
        self._make = make
        self._objective: Objective | None = None
        self._states, self._values = make(), RowStore()

    def under(self, objective: Objective) -> S:
        """The states to start from."""
        if objective != self._objective:
            self._objective = objective
            self._states, self._values = self._make(), RowStore()
        return self._states

    def put(
        self,
        rows: Int[Tensor, " batch"],
        z: Float[Tensor, "batch dim"],
        values: Float[Tensor, " batch"],
    ) -> None:
        """Remember the rows whose value under the present objective is the highest so far."""
        self._states.put_better(rows, z, values, self._values)
