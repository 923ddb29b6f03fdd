"""Weight-tied networks with a sparse mask for every application."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from robustdeq.errors import SpecError
from robustdeq.models.cells import TanhCell
from robustdeq.noise import NoiseStream

Mask = Bool[Tensor, "..."]


def draw_mask(shape: tuple[int, ...], density: float, noise: NoiseStream) -> Mask:
    """floor(density * entries) entries, drawn uniformly without replacement: an exact count.

    Raises:
        SpecError: the density is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise SpecError(f"density {density} is outside (0, 1]; it is the share of weights kept")
    entries = torch.Size(shape).numel()
    mask = torch.zeros(entries, dtype=torch.bool)
    mask[noise.permutation(entries)[: int(density * entries)]] = True
    return mask.reshape(shape)


class MaskedStack(nn.Module):
    """z_L of z_{l+1} = f(z_l, u; M_l * W) from z_0 = 0, with the weights of one `TanhCell`.

    Song, Majumder, Lin (2023, arXiv 2307.08013): every weight tensor has one mask per application,
    biases have none. Backpropagation sums the masked gradients of all applications. With distinct
    masks there is no single map, hence no fixed point; past L applications the network is
    undefined. Masks are buffers, so that a checkpoint has them.

    Args:
        cell: holds the weights that are shared.
        masks: of each of the cell's two convolutions, one per application.

    Raises:
        SpecError: another number of masks than applications, or a mask of another shape.
    """

    inner_masks: Tensor
    outer_masks: Tensor

    def __init__(self, cell: TanhCell, depth: int, masks: Sequence[tuple[Mask, Mask]]):
        super().__init__()
        if len(masks) != depth or depth < 1:
            raise SpecError(
                f"{len(masks)} masks for {depth} applications; give every application its own"
            )
        self.cell = cell
        for layer, of_layer in zip((cell.inner, cell.outer), zip(*masks, strict=True), strict=True):
            if any(mask.shape != layer.weight.shape for mask in of_layer):
                raise SpecError(
                    f"masks of shapes {sorted({tuple(mask.shape) for mask in of_layer})} for "
                    f"weights of shape {tuple(layer.weight.shape)}; expected the same"
                )
        self.register_buffer("inner_masks", torch.stack([inner for inner, _ in masks]))
        self.register_buffer("outer_masks", torch.stack([outer for _, outer in masks]))

    def forward(self, u: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch *state"]:
        inner, outer = self.cell.inner, self.cell.outer
        u = u.contiguous(memory_format=torch.channels_last)  # as fast for the cell as it can lie
        z = torch.zeros_like(u)
        for keep_inner, keep_outer in zip(self.inner_masks, self.outer_masks, strict=True):
            h = torch.tanh(conv2d(z, inner.weight * keep_inner, inner.bias, padding=1))
            z = torch.tanh(u + conv2d(h, outer.weight * keep_outer, padding=1))
        return z

    def live_parameters(self) -> int:
        """Weights and biases that at least one application uses."""
        weights = self.inner_masks.any(0).sum() + self.outer_masks.any(0).sum()
        biases = sum(p.numel() for p in self.cell.parameters() if p.ndim == 1)
        return int(weights) + biases

    def multiply_adds(self, height: int, width: int) -> int:
        """Of all applications on one image, if the zeros were skipped; dense code skips none.

        Borders are counted as if padded pixels were multiplied, too.
        """
        return int(self.inner_masks.sum() + self.outer_masks.sum()) * height * width
