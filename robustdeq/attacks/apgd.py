"""Auto-PGD: projected gradient ascent that chooses its own step sizes."""

import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.search import Points, Search
from robustdeq.errors import SpecError
from robustdeq.objectives.base import Objective
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.surface import Reading
from robustdeq.threats.base import ThreatModel

_RHO = 0.75  # share of improving steps below which the step is halved (section 3.1)
_ALPHA = 0.75  # weight of the new direction against the momentum (section 3.1)


@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD, Algorithm 1 of Croce and Hein.

        z_{k+1} = project(x_k + eta_k * steepest(grad L(x_k)))
        x_{k+1} = project(x_k + alpha (z_{k+1} - x_k) + (1 - alpha)(x_k - x_{k-1}))

    Croce and Hein 2020 ("Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks"), eq. 3 and conditions 1 and 2. eta starts at 2 eps; at each checkpoint
    it is halved for the rows that improved too rarely or stagnate, which then go on from their best
    point. With `targets` = k the search is repeated against the k highest wrong classes of the
    clean image (fewer where there are fewer), each with `steps` steps and `restarts` starts; with
    the objective `dlr` that is APGD-T.

    Rows are independent: each has its own step, counters and best point, and leaves as soon as the
    deployed predictor confirms its loss. A start costs `steps` gradients and one value per row.

    Raises:
        SpecError: a count below 1, or negative `targets`.
    """

    steps: int = 100
    restarts: int = 1
    targets: int = 0
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self):
        require_counts(self, "steps", "restarts")
        if self.targets < 0:
            raise SpecError(f"targets = {self.targets}; expected 0 (untargeted) or more")

    def run(self, search: Search) -> None:
        classes = search.wrong_classes(self.targets) if self.targets else [None]
        for order, target in enumerate(classes):
            for draw in range(self.restarts):
                self._climb(search, search.start("apgd", order, draw=draw), target)

    def _climb(self, search: Search, start: Points, target: Int[Tensor, " batch"] | None) -> None:
        """One search from some points."""
        reading = search.gradient(start, self.objective, target)
        path = _Path.start(start, reading, 2.0 * float(search.threat.eps))
        path = path.select(search.left(start))
        since = {now: before for before, now in itertools.pairwise(checkpoints(self.steps))}
        for k in range(1, self.steps + 1):
            if not len(path.points):
                return
            points = path.proposal(search.threat, momentum=k > 1)
            if k == self.steps:  # nobody asks for the last gradient
                search.value(points, self.objective, target)
                return
            reading = search.gradient(points, self.objective, target)
            path = path.advanced(points, reading).select(search.left(points))
            if k in since:
                path = path.adapted(k - since[k])


def checkpoints(steps: int) -> list[int]:
    """The iterations w_0 = 0 < w_1 < ... <= steps at which the step size is reconsidered.

    w_j = ceil(p_j steps), p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)
    (section 3.1), in exact arithmetic.
    """
    shares = [Fraction(0), Fraction(22, 100)]
    while shares[-1] < 1:
        gap = max(shares[-1] - shares[-2] - Fraction(3, 100), Fraction(6, 100))
        shares.append(shares[-1] + gap)
    return sorted({math.ceil(share * steps) for share in shares if share <= 1})


@dataclass(frozen=True)
class _Path:
    """Where one search stands: each tensor has one entry per row that is still in it."""

    points: Points
    previous: Tensor
    gradient: Tensor
    value: Float[Tensor, " n"]
    best: Tensor
    best_gradient: Tensor
    best_value: Float[Tensor, " n"]
    eta: Tensor  # (n, 1, ...)
    improved: Int[Tensor, " n"]  # improving steps since the last checkpoint
    halved: Bool[Tensor, " n"]  # at the last checkpoint
    checked_value: Float[Tensor, " n"]  # best value at the last checkpoint

    @classmethod
    def start(cls, points: Points, reading: Reading, eta: float) -> "_Path":
        assert reading.gradient is not None
        x, value, gradient = points.x, reading.value, reading.gradient
        return cls(
            points=points,
            previous=x,
            gradient=gradient,
            value=value,
            best=x,
            best_gradient=gradient,
            best_value=value,
            eta=x.new_full((len(x), *[1] * (x.ndim - 1)), eta),
            improved=torch.zeros_like(points.index),
            halved=torch.zeros_like(points.index, dtype=torch.bool),
            checked_value=value,
        )

    def select(self, keep: Bool[Tensor, " n"]) -> "_Path":
        if keep.all():
            return self
        _, *tensors = (getattr(self, entry.name) for entry in dataclasses.fields(self))
        return _Path(self.points.select(keep), *(each[keep] for each in tensors))

    def proposal(self, threat: ThreatModel, momentum: bool) -> Points:
        """x_{k+1} by eq. 3; the first step has no momentum."""
        x, clean = self.points.x, self.points.samples.images
        ahead = threat.project(x + self.eta * threat.steepest(self.gradient), clean)
        if momentum:
            mixed = x + _ALPHA * (ahead - x) + (1.0 - _ALPHA) * (x - self.previous)
            ahead = threat.project(mixed, clean)
        return self.points.moved(ahead)

    def advanced(self, points: Points, reading: Reading) -> "_Path":
        """After a step to some points."""
        assert reading.gradient is not None
        x, value, gradient = points.x, reading.value, reading.gradient
        better = value > self.best_value
        wide = better.reshape(self.eta.shape)
        return dataclasses.replace(
            self,
            points=points,
            previous=self.points.x,
            gradient=gradient,
            value=value,
            best=torch.where(wide, x, self.best),
            best_gradient=torch.where(wide, gradient, self.best_gradient),
            best_value=torch.where(better, value, self.best_value),
            improved=self.improved + (value > self.value),
        )

    def adapted(self, interval: int) -> "_Path":
        """At a checkpoint, `interval` steps after the one before: conditions 1 and 2 (section 3.1).

        Rows that improved in fewer than rho of the steps, or whose best value and step have stood
        still since the last checkpoint, halve their step and go back to their best point.
        """
        rarely = self.improved < _RHO * interval
        stagnant = ~self.halved & (self.best_value <= self.checked_value)
        halve = rarely | stagnant
        wide = halve.reshape(self.eta.shape)
        return dataclasses.replace(
            self,
            points=self.points.moved(torch.where(wide, self.best, self.points.x)),
            gradient=torch.where(wide, self.best_gradient, self.gradient),
            value=torch.where(halve, self.best_value, self.value),
            eta=torch.where(wide, 0.5 * self.eta, self.eta),
            improved=torch.zeros_like(self.improved),
            halved=halve,
            checked_value=self.best_value,
        )
