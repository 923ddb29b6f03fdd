"""Targets that hide something, one way each."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import conv2d

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.models.cells import Cell, pooled_head
from robustdeq.models.deq import DEQClassifier
from robustdeq.solvers.picard import Picard
from robustdeq.testing.toys import TASK


class Flip(torch.autograd.Function):
    """The identity, whose derivative has the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class FlipLayer(nn.Module):
    def forward(self, x):
        return Flip.apply(x)


def flipped(target):
    """The same answers, and every gradient downhill."""
    own = target.classifier
    inject = nn.Sequential(FlipLayer(), own.inject)
    return replace(target, classifier=own.replaced(inject=inject))


@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card("Planted", "by hand")


_BLUR = torch.full((1, 1, 3, 3), 1 / 9)


@dataclass(frozen=True)
class GlobalKernel(Planted):
    """An honest blur, whose kernel is neither a parameter nor a buffer."""

    def infer(self, target, x, noise):
        return target.classifier.predict(self.blurred(x))

    def relaxed(self, target, x, noise):
        return target.classifier(self.blurred(x))

    def blurred(self, x):
        return conv2d(x, self.kernel(x), padding=1, groups=x.shape[1])

    def kernel(self, x):
        return _BLUR.repeat(x.shape[1], 1, 1, 1)


@dataclass(frozen=True)
class PlainKernel(GlobalKernel):
    """The same, kept by the instance."""

    def __post_init__(self):
        object.__setattr__(self, "held", _BLUR.clone())

    def kernel(self, x):
        return self.held.repeat(x.shape[1], 1, 1, 1)


@dataclass(frozen=True)
class SingleOnly(Planted):
    """An honest network that answers float32 alone."""

    def transform(self, target, x, noise):
        if x.dtype != torch.float32:
            raise RuntimeError("expected Float")
        return x


@dataclass(frozen=True)
class Starved(Planted):
    """A stand-in for `relaxed` that finds no memory."""

    def relaxed(self, target, x, noise):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@dataclass(frozen=True)
class Scaled(Planted):
    """The same labels from logits of another size."""

    factor: float = 1.0

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=self.factor * answer.logits)

    def relaxed(self, target, x, noise):
        return self.factor * self.base.relaxed(target, x, noise)


@dataclass(frozen=True)
class Detached(Planted):
    def relaxed(self, target, x, noise):
        return target.classifier(x).detach()


@dataclass(frozen=True)
class Rounding(Planted):
    """Sees few levels of grey, and passes the gradient straight through them."""

    def transform(self, target, x, noise):
        return (2 * x).round() / 2


@dataclass(frozen=True)
class Shifting(Planted):
    """Moves the image by a draw of its own, which its relaxed form shares."""

    def transform(self, target, x, noise):
        return x + 0.02 * noise.normal(tuple(x.shape[1:])).to(x)


@dataclass(frozen=True)
class Coin(Planted):
    """Takes back every fourth answer, by a draw of its own."""

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        tails = noise.uniform((1,)).to(x) < 0.25
        return replace(answer, logits=torch.where(tails, -answer.logits, answer.logits))


def wrapped(kind, target, **fields):
    """The target behind a planted wrapper."""
    return DefendedModel(kind(base=target.defense, **fields), target.classifier, {})


class _Latch(Cell):
    """tanh(2 z + u): two equilibria a unit wherever |u| < 0.53, so a warm solve remembers."""

    def forward(self, z, u):
        return torch.tanh(2 * z + u)


def bistable(target):
    """A network of latches in the target's place."""
    channels, height, width = 4, *TASK.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DEQClassifier(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            _Latch(),
            pooled_head(channels, height, width, TASK.classes),
            (channels, height, width),
            Picard(),
            Unrolled(),
        )
    return replace(target, classifier=model.eval().requires_grad_(False))
