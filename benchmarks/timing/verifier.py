"""An umpire that shares no solver with either side.

Both sides' images are judged by the same cold, plain loop, tighter than either side solved, and by
its label alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustdeq.equilibrium import residual
from robustdeq.models.deq import DEQClassifier
from robustdeq.results.boards.statistics import at_least_as_strong, newcombe, paired_counts

Survival = NDArray[np.bool_]  # (n,), or (seeds, n): True where the image is still classified right


class Verdict(NamedTuple):
    """The umpire's answer: labels (B,) and which rows (B,) met its tolerance."""

    labels: Tensor
    converged: Tensor


@torch.no_grad()
def verify(model: DEQClassifier, x: Tensor, tol: float = 1e-4, max_steps: int = 1000) -> Verdict:
    """Labels at the fixed point of z <- f(z; u) from zero, to a relative change of `tol`.

    In the precision of the model and of x. Every row is iterated until all have met the tolerance.
    """
    u = model.inject(x)
    z = u.new_zeros(len(x), *model.state)
    change = u.new_full((len(x),), torch.inf)
    for _ in range(max_steps):
        fz = model.cell(z, u)
        change = residual(z.flatten(1), fz.flatten(1))
        z = fz
        if bool((change <= tol).all()):
            break
    return Verdict(model.head(z).argmax(1), change <= tol)


def survival(model: DEQClassifier, candidates: Tensor, y: Tensor) -> tuple[Survival, int]:
    """Who survives all candidates (K, B, *image), and how many answers did not converge."""
    verdicts = [verify(model, x) for x in candidates]
    right = torch.stack([verdict.labels == y for verdict in verdicts]).all(0)
    undecided = sum(int((~verdict.converged).sum()) for verdict in verdicts)
    return right.cpu().numpy(), undecided


class Strength(NamedTuple):
    """Our attack against theirs on the same images, union over seeds.

    Attributes:
        ours, theirs: robust accuracy that each leaves.
        only_ours, only_theirs: the images that only one side breaks.
        upper: one-sided 95 % upper bound of ours minus theirs.
        shown: whether that bound is at most the margin asked for.
        agreement, floor: the share of images with equal verdicts: ours and theirs under the first
            seed, and theirs under its first two seeds, where there are two.
    """

    ours: float
    theirs: float
    only_ours: tuple[int, ...]
    only_theirs: tuple[int, ...]
    upper: float
    shown: bool
    agreement: float
    floor: float | None


def strength(ours: Survival, theirs: Survival, margin: float) -> Strength:
    """Compare survivals (seeds, n); an image survives a side if it survives all its seeds."""
    a, b = np.asarray(ours.all(0)), np.asarray(theirs.all(0))
    return Strength(
        float(a.mean()),
        float(b.mean()),
        tuple(np.flatnonzero(~a & b).tolist()),
        tuple(np.flatnonzero(a & ~b).tolist()),
        newcombe(*paired_counts(a, b), confidence=0.90).high,
        at_least_as_strong(ours, theirs, margin),
        float((ours[0] == theirs[0]).mean()),
        float((theirs[0] == theirs[1]).mean()) if len(theirs) > 1 else None,
    )
