"""Attacks that know an impostor's trick, in plain torch and without the package's own attacks.

Each is projected gradient ascent with many restarts on a function written out here: the network's
modules and a loop of Picard steps. They say how far a function-changing impostor can be broken by
somebody who has read its source, and so how much the union leaves undiscovered.
"""

from collections.abc import Callable
from itertools import count

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustdeq.models.deq import DEQClassifier
from robustdeq.testing.impostors.batch_coupling import SHARE
from robustdeq.testing.impostors.early_stop import DEPTH
from robustdeq.testing.impostors.entropy_sharpening import RADIUS, STEP, STEPS
from robustdeq.testing.impostors.known_images import album
from robustdeq.testing.impostors.nearest_image import restored
from robustdeq.testing.impostors.random_depth import DEEPEST
from robustdeq.testing.impostors.random_noise import SIGMA

ASCENT = 50  # gradients of one restart
_ENOUGH = 16  # Picard steps after which the twin's logits stand still
_DRAWS = 8  # of an expectation

# (x, number of the restart, torch's generator) -> logits (draws, B, classes), differentiable
Opened = Callable[[Tensor, int, torch.Generator], Tensor]
Score = Callable[[Tensor], Tensor]  # all n images -> (n,) the share of answers that are right


def iterates(network: DEQClassifier, x: Tensor, steps: int) -> list[Tensor]:
    """The states (B, *state) after each of the first Picard steps, by full backpropagation."""
    u = network.inject(x)
    states = [torch.zeros(len(x), *network.state)]
    for _ in range(steps):
        states.append(network.cell(states[-1], u))
    return states[1:]


def unrolled(network: DEQClassifier, x: Tensor, steps: int = _ENOUGH) -> Tensor:
    """The logits (B, classes) after so many Picard steps."""
    return network.head(iterates(network, x, steps)[-1])


def opened(network: DEQClassifier) -> dict[str, Opened]:
    """The function behind every function-changing impostor, and behind the twin, by name."""
    return {
        "twin": lambda x, restart, chance: unrolled(network, x)[None],
        "query-memory": lambda x, restart, chance: unrolled(network, x)[None],
        "seventeen-levels": lambda x, restart, chance: unrolled(network, _rounded(x))[None],
        "early-stop": lambda x, restart, chance: unrolled(network, x, DEPTH)[None],
        "random-depth": lambda x, restart, chance: _at_every_depth(network, x),
        "random-noise": lambda x, restart, chance: _noisy(network, x, chance),
        "batch-coupling": lambda x, restart, chance: _coupled(network, x),
        "entropy-sharpening": lambda x, restart, chance: _sharpened(network, x, restart),
        "known-images": lambda x, restart, chance: album().corrected(unrolled(network, x), x)[None],
        "nearest-image": lambda x, restart, chance: _restored(network, x),
    }


def reference_attack(
    function: Opened,
    score: Score,
    x: Float[Tensor, "n *image"],
    y: Int[Tensor, " n"],
    eps: float,
    gradients: int,
    seed: int = 0,
    ascent: int = ASCENT,
) -> Tensor:
    """The candidate of each image with the lowest score: (n, *image), in the Linf ball and [0, 1].

    Args:
        gradients: per image at least, one for every answer that a step differentiates; an image
            whose score is 0 is left alone.
        ascent: steps of one restart.
    """
    chance = torch.Generator().manual_seed(seed)
    best, lowest = x.clone(), score(x)
    spent = 0
    for restart in count():
        open_rows = (lowest > 0).nonzero()[:, 0]
        if not len(open_rows) or spent >= gradients:
            break
        start = best[open_rows] if restart % 4 == 3 else x[open_rows]
        tried = best.clone()
        tried[open_rows], answers = _climb(
            function, x[open_rows], y[open_rows], start, eps, restart, chance, ascent
        )
        spent += ascent * answers
        found = score(tried)
        better = found < lowest
        better &= torch.zeros_like(better).index_fill(0, open_rows, True)
        best[better], lowest[better] = tried[better], found[better]
    return best


def _climb(
    function: Opened,
    x: Tensor,
    y: Tensor,
    start: Tensor,
    eps: float,
    restart: int,
    chance: torch.Generator,
    ascent: int,
) -> tuple[Tensor, int]:
    """One ascent: the iterate whose mean margin is lowest, and how many answers a step has."""
    offset = 2.0 * torch.rand(x.shape, generator=chance) - 1.0
    current = _inside(start + eps * offset, x, eps)
    best, lowest = current, torch.full((len(x),), torch.inf)
    for step in range(ascent):
        leaf = current.detach().requires_grad_()
        logits = function(leaf, restart, chance)
        (gradient,) = torch.autograd.grad(_loss(logits, y, restart).sum(), leaf)
        value = -_gap(logits.detach(), y, None).mean(0)
        better = value < lowest
        lowest = torch.where(better, value, lowest)
        best = torch.where(better[:, None, None, None], current, best)
        size = eps * (0.5 if step < ascent // 3 else 0.15 if step < 2 * ascent // 3 else 0.04)
        current = _inside(current + size * gradient.sign(), x, eps).detach()
    return best, len(logits)


def _loss(logits: Tensor, y: Tensor, restart: int) -> Tensor:
    """Cross-entropy, the margin, and the margins towards the next best classes, in turn."""
    which = restart % 5
    if which == 0:
        flat = logits.flatten(0, 1)
        return cross_entropy(flat, y.repeat(len(logits)), reduction="none")
    if which == 1:
        return _gap(logits, y, None)
    mean = logits.detach().mean(0).scatter(1, y[:, None], -torch.inf)
    return _gap(logits, y, mean.argsort(1, descending=True)[:, which - 2])


def _gap(logits: Tensor, y: Tensor, towards: Tensor | None) -> Tensor:
    """How far the true class lies behind the best other one, or a given one: (draws, B)."""
    index = y.expand(len(logits), -1)[..., None]
    own = logits.gather(2, index)[..., 0]
    if towards is not None:
        return logits.gather(2, towards.expand(len(logits), -1)[..., None])[..., 0] - own
    return logits.scatter(2, index, -torch.inf).amax(2) - own


def _inside(moved: Tensor, x: Tensor, eps: float) -> Tensor:
    return torch.minimum(torch.maximum(moved, x - eps), x + eps).clamp(0.0, 1.0)


def _rounded(x: Tensor) -> Tensor:
    """The 17 levels, with the identity as their derivative."""
    return x + ((16 * x).round() / 16 - x).detach()


def _restored(network: DEQClassifier, x: Tensor) -> Tensor:
    """The nearest test image's logits, with the identity as the derivative of finding it."""
    return unrolled(network, x + (restored(x, album().images) - x).detach())[None]


def _at_every_depth(network: DEQClassifier, x: Tensor) -> Tensor:
    return torch.stack([network.head(z) for z in iterates(network, x, DEEPEST)])


def _noisy(network: DEQClassifier, x: Tensor, chance: torch.Generator) -> Tensor:
    noise = torch.randn((_DRAWS, *x.shape), generator=chance)
    logits = unrolled(network, (x + SIGMA * noise).flatten(0, 1))
    return logits.unflatten(0, (_DRAWS, len(x)))


def _coupled(network: DEQClassifier, x: Tensor) -> Tensor:
    """Less the mean of this batch, which one image hardly moves."""
    logits = unrolled(network, x)
    return (logits - SHARE * logits.detach().mean(0))[None]


def _sharpened(network: DEQClassifier, x: Tensor, restart: int) -> Tensor:
    """Logits behind the sharpening: straight through it, or through softened signs, in turn."""
    soft = restart % 2 == 1
    moved = x if soft else x.detach().requires_grad_()
    for _ in range(STEPS):
        log_p = unrolled(network, moved).log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum()
        (gradient,) = torch.autograd.grad(entropy, moved, create_graph=soft)
        scale = gradient.detach().abs().flatten(1).mean(1)[:, None, None, None] + 1e-12
        slope = torch.tanh(gradient / scale) if soft else torch.zeros_like(gradient)
        exact = gradient.detach().sign() - slope.detach()
        ahead = moved - STEP * (slope + exact)
        moved = ahead.clamp(x.detach() - RADIUS, x.detach() + RADIUS).clamp(0.0, 1.0)
        if not soft:
            moved = moved.detach().requires_grad_()
    final = moved if soft else x + (moved - x).detach()
    return unrolled(network, final)[None]
