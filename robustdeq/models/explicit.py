"""The control without an equilibrium."""

import torch
from torch import Tensor, nn

from robustdeq.models.base import Classifier, Deployment, Prediction


class ResidualBlock(nn.Module):
    """h + W2 * relu(norm(W1 * relu(norm(h)))), pre-activation (He et al. 2016b)."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


class ExplicitClassifier(Classifier):
    """A feed-forward network: inject, a body of untied layers, head."""

    def __init__(self, inject: nn.Module, body: nn.Module, head: nn.Module):
        super().__init__()
        self.inject, self.body, self.head = inject, body, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.inject(x)))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Prediction:
        logits = self(x)
        ones = torch.ones(len(x), dtype=torch.int64, device=x.device)
        return Prediction(logits, ones, torch.zeros_like(logits[:, 0]), ones.bool())

    def deployment(self) -> Deployment:
        return Deployment()
