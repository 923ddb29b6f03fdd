"""Per-row memory of a surface: what was last known of each sample."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class RowStore:
    """Vectors (D,) keyed by a sample's position in its data slice.

    Allocated for the rows it has seen, not for the slice.
    """

    def __init__(self) -> None:
        self._slot = torch.empty(0, dtype=torch.int64)  # position -> slot, -1 where unknown
        self._values = torch.empty(0, 0)

    def get(self, rows: Int[Tensor, " batch"], default: Float[Tensor, "batch dim"]) -> Tensor:
        """The stored vectors (B, D), or the default's row where none is stored."""
        if not len(rows) or not len(self._values):
            return default
        slot = self._slots(rows)
        known = slot >= 0
        if bool(known.all()):
            return self._values[slot]
        return torch.where(known[:, None], self._values[slot.clamp_min(0)], default)

    def knows(self, rows: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Which rows have a stored vector."""
        return self._slots(rows) >= 0 if len(rows) else torch.zeros_like(rows, dtype=torch.bool)

    def put(self, rows: Int[Tensor, " batch"], values: Float[Tensor, "batch dim"]) -> None:
        """Remember a vector for every row whose vector is finite; others keep what is stored.

        What is NaN once would be so at every later visit.
        """
        finite = torch.isfinite(values).all(1)
        if not bool(finite.all()):
            rows, values = rows[finite], values[finite]
        if not len(rows):
            return
        if not len(self._values):
            self._values = values[:0].clone()
        slot = self._slots(rows)
        fresh = (slot < 0).nonzero()[:, 0]
        if len(fresh):
            slot[fresh] = len(self._values) + torch.arange(len(fresh), device=rows.device)
            self._slot[rows] = slot
            self._values = torch.cat([self._values, values[fresh]])
        self._values[slot] = values

    def put_better(
        self,
        rows: Int[Tensor, " batch"],
        values: Float[Tensor, "batch dim"],
        scores: Float[Tensor, " batch"],
        best: "RowStore",
    ) -> None:
        """Remember the rows whose score is the highest so far; `best` keeps the scores."""
        lowest = torch.full_like(scores, -torch.inf)[:, None]
        better = (scores[:, None] >= best.get(rows, lowest))[:, 0]
        self.put(rows[better], values[better])
        best.put(rows[better], scores[better, None])

    def _slots(self, rows: Tensor) -> Tensor:
        missing = int(rows.max()) + 1 - len(self._slot)
        if missing > 0:
            unknown = rows.new_full((missing,), -1)
            # Nothing says where this store lives before the first rows do.
            self._slot = torch.cat([self._slot, unknown]) if len(self._slot) else unknown
        return self._slot[rows]
