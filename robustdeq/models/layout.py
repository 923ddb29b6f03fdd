"""How a flat state stands for one with axes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """States (B, *shape) as rows (B, D) and back, neither of which copies.

    Attributes:
        shape: of one row's state.
        channels_last: of a state (C, H, W) the channels lie next to each other in memory and in the
            row. A CPU convolves what lies so without rearranging it before and after.
    """

    shape: tuple[int, ...]
    channels_last: bool = False

    def flat(self, z: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch dim"]:
        """The rows of states; a state that lies otherwise in memory is copied."""
        return (z.movedim(1, -1) if self.channels_last else z).flatten(1)

    def shaped(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch *state"]:
        """The states of rows."""
        if not self.channels_last:
            return z.unflatten(1, self.shape)
        channels, *space = self.shape
        return z.unflatten(1, (*space, channels)).movedim(-1, 1)

    def settled(self, u: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """What a cell reads beside its state, in memory as the state is."""
        if not self.channels_last:
            return u
        return u.contiguous(memory_format=torch.channels_last)
