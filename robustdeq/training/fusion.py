"""The server of a federated training: fused weights, and the traffic they cost."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustdeq.defenses.fusion import Fusion, fusion_weights
from robustdeq.training.clients import Update
from robustdeq.training.state import Weights


def fuse(updates: Sequence[Update], fusion: Fusion, by_images: bool = True) -> Weights:
    """sum_k w_k theta_k over the clients' networks, every tensor of its own shape and type.

    Summed in float64 in the order of the client numbers, so that the order of arrival changes
    nothing, and rounded once. A tensor of integers counts something and has no average: the largest
    count of any client is kept.
    """
    updates = sorted(updates, key=lambda update: update.report.client)
    weights = fusion_weights([update.report for update in updates], fusion, by_images)
    return {
        name: _fused([update.weights[name] for update in updates], weights)
        for name in updates[0].weights
    }


def _fused(tensors: list[Tensor], weights: list[float]) -> Tensor:
    if not tensors[0].is_floating_point():
        return torch.stack(tensors).amax(0)
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight * tensor.double()
    return total.to(tensors[0].dtype)


def size_in_bytes(weights: Mapping[str, Tensor]) -> int:
    """What sending these tensors takes; no solver step is in them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
