"""Surfaces small enough to know the answer of."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustdeq.attacks.approach import Approach
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.surface import Cost, Reading, Surface

Logits = Callable[[Tensor], Tensor]


class ToySurface(Surface):
    """Plain logits; `deployed` is the predictor that confirms, by default the same function.

    `asked` collects the (positions, inputs) of every confirmation.
    """

    logits_form = True

    def __init__(self, logits: Logits, deployed: Logits | None = None):
        self.cost = Cost()
        self.logits = logits
        self.deployed = deployed or logits
        self.asked: list[tuple[list[int], Tensor]] = []

    def view(self, x, rows, needs):
        self.cost.add(forward=len(x))
        with torch.no_grad():
            return View(self.logits(x))

    def value(self, samples, objective, target=None):
        view = self.view(samples.images, samples.positions, objective.needs)
        return Reading(objective(view, samples.labels, target), view.logits)

    def raw_value_and_grad(self, samples, objective: Objective, target=None):
        self.cost.add(forward=len(samples), vjp=len(samples))
        x = samples.images.detach().requires_grad_()
        logits = self.logits(x)
        value = objective(View(logits), samples.labels, target)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return Reading(value.detach(), logits.detach(), gradient)

    def differentiable_logits(self, x):
        self.cost.add(forward=len(x))
        return self.logits(x)

    def fooled(self, samples: Samples):
        self.asked.append((samples.positions.tolist(), samples.images.clone()))
        with torch.no_grad():
            return self.deployed(samples.images).argmax(1) != samples.labels


def confirmed(surface: ToySurface) -> Approach:
    """A toy surface whose own predictor confirms."""
    return Approach(surface, surface.fooled)


class Linear:
    """Logits W x + b of random weights, and the worst point of the ball in closed form."""

    def __init__(self, classes: int, shape: tuple[int, ...], dtype=torch.float64, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        size = (classes, math.prod(shape))
        self.weight = torch.randn(size, generator=generator, dtype=dtype)
        self.bias = torch.randn(classes, generator=generator, dtype=dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def never_fooled(self, y: Tensor) -> Logits:
        """A deployed predictor that always answers y, so that a search is never cut short."""
        return lambda x: torch.nn.functional.one_hot(y[: len(x)], len(self.bias)).double()

    def worst_margin_linf(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """max over x' and j != y of z_j - z_y: every pixel at its better end of the interval."""
        flat = x.flatten(1)[:, None, :]
        slope = self.weight[None] - self.weight[y][:, None]
        low, high = (flat - eps).clamp(min=0.0), (flat + eps).clamp(max=1.0)
        ends = torch.where(slope > 0, high, low)
        margins = (slope * ends).sum(2) + self.bias - self.bias[y][:, None]
        return margins.scatter(1, y[:, None], -math.inf).amax(1)

    def worst_margin_l2(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """The same for the L2 ball, where the box [0, 1] does not bind."""
        slope = self.weight[None] - self.weight[y][:, None]
        margins = self(x) - self(x).gather(1, y[:, None]) + eps * slope.norm(dim=2)
        return margins.scatter(1, y[:, None], -math.inf).amax(1)


def conv_net(classes: int = 4, channels: int = 2, seed: int = 0) -> nn.Sequential:
    """A small smooth network of random weights for images of 8 x 6 pixels, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(6, 6, 3, stride=2, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(72, classes),
        ).double()
    return net.eval().requires_grad_(False)


def images(count: int, shape: tuple[int, ...], dtype=torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, *shape), generator=generator, dtype=dtype)
