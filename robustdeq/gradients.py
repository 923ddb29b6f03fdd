"""Asking autograd for a gradient, and telling its "there is none" from every other failure."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.errors import MissingGradient


def gradients_of(
    value: Float[Tensor, "*shape"],
    leaves: tuple[Tensor, ...],
    weights: Float[Tensor, "*shape"] | None = None,
    keep_graph: bool = False,
) -> list[Tensor]:
    """The gradients of `value`, or of its sum under `weights`, by each of the leaves.

    Raises:
        MissingGradient: the value does not depend on a leaf as far as autograd can see. Any other
            failure on the way, of memory for example, is not this one and goes on as it is.
    """
    if not value.requires_grad:
        raise MissingGradient("no gradient reaches the input: the value does not require grad")
    found = torch.autograd.grad(value, leaves, weights, retain_graph=keep_graph, allow_unused=True)
    present = [gradient for gradient in found if gradient is not None]
    if len(present) < len(leaves):
        raise MissingGradient("no gradient reaches the input: it is not in the value's graph")
    return present


def gradient_of(
    value: Float[Tensor, "*shape"],
    leaf: Tensor,
    weights: Float[Tensor, "*shape"] | None = None,
    keep_graph: bool = False,
) -> Tensor:
    """`gradients_of` one leaf."""
    return gradients_of(value, (leaf,), weights, keep_graph)[0]
