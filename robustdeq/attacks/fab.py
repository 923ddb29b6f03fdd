"""The fast adaptive boundary attack: the nearest adversarial input, by linearised boundaries."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.hyperplanes import to_hyperplane
from robustdeq.attacks.search import Points, Search
from robustdeq.errors import SpecError
from robustdeq.objectives.base import View
from robustdeq.objectives.margin import Margin
from robustdeq.surface import Reading
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class FAB(Attack):
    """FAB-T: a walk along the linearised boundary to a target class, pulled to the clean image.

        pi_k    = { v : L(x_k) + <grad L(x_k), v - x_k> = 0 },   L = z_t - z_y
        u_k     = x + beta (x_k - x) where x_k is adversarial, else x_k
        x_{k+1} = clip((1 - alpha)(u_k + eta d(u_k)) + alpha (x + eta d(x)))
        alpha   = min(|d(u_k)| / (|d(u_k)| + |d(x)|), alpha_max)

    with d(v) the smallest step within [0, 1] from v to pi_k in the threat's norm. Croce and Hein
    2020 ("Minimally distorted adversarial examples with a fast adaptive boundary attack"),
    Algorithm 1, against each of the `targets` highest wrong classes of the clean image (fewer where
    there are fewer): FAB-T of their "Reliable evaluation of adversarial robustness with an ensemble
    of diverse parameter-free attacks" (2020). The first search starts at x, further `restarts`
    within half the radius of it.

    What is asked here is not how near the boundary is but whether it is within the radius, so
        - a row leaves as soon as the deployed predictor confirms an iterate inside the threat set,
          and a search ends by looking at its last iterate projected onto that set;
        - an adversarial x_k inside that is not confirmed moves the row's boundary, L = 0 at first,
          out to L = twice the margin there: the deployed one lies beyond the surrogate's;
        - u_k goes to the hyperplane of x_k, not to one of its own: a step is a single gradient,
          where the authors' code spends a value more.
    A start costs `steps` gradients and one value per row. With one restart nothing is random.

    Raises:
        SpecError: a count below 1, alpha_max or beta outside [0, 1], eta below 1, or a threat model
            without a projection.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def __post_init__(self):
        require_counts(self, "steps", "targets", "restarts")
        for name in ("alpha_max", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise SpecError(f"{name} = {getattr(self, name)}; expected a weight in [0, 1]")
        if not 1 <= self.eta < math.inf:
            raise SpecError(f"eta = {self.eta}; expected at least 1, the step onto the boundary")

    def run(self, search: Search) -> None:
        for order, target in enumerate(search.wrong_classes(self.targets)):
            for draw in range(self.restarts):
                start = search.standing()
                if draw:
                    noise, rows = search.noise.child("fab", order), start.samples.positions
                    other = search.threat.random_start(start.x, rows, noise, draw)
                    start = start.moved(0.5 * (start.x + other))
                self._search(search, start, target)

    def _search(self, search: Search, points: Points, target: Int[Tensor, " batch"]) -> None:
        """One search from some points."""
        required = points.x.new_zeros(len(points))
        for _ in range(self.steps):
            if not len(points):
                return
            inside = search.threat.contains(points.samples.images, points.x, slack=0.0)
            reading = search.gradient(points, Margin(), target, inside)
            margin = Margin()(View(reading.logits), points.samples.labels)
            refused = inside & (margin > required)
            required = torch.where(refused, 2.0 * margin, required)
            walked = self._step(search.threat, points, reading, required, margin > required)
            keep = search.left(points) | ~inside
            points, required = points.moved(walked).select(keep), required[keep]
        last = search.threat.project(points.x, points.samples.images)
        search.value(points.moved(last), Margin())

    def _step(
        self,
        threat: ThreatModel,
        points: Points,
        reading: Reading,
        required: Float[Tensor, " n"],
        adversarial: Bool[Tensor, " n"],
    ) -> Float[Tensor, "n *image"]:
        """x_{k+1} from the reading at x_k; where that has no finite numbers, x_k."""
        clean, current, normal = points.samples.images, points.x, reading.gradient
        assert normal is not None
        back = clean + self.beta * (current - clean)
        base = torch.where(_per_row(adversarial, clean), back, current)
        gap = required - reading.value
        ahead, direct = (
            to_hyperplane(threat, v, normal, gap - (normal * (v - current)).flatten(1).sum(1))
            for v in (base, clean)
        )
        near, far = threat.distance(base, base + ahead), threat.distance(clean, clean + direct)
        share = near / (near + far).clamp(min=torch.finfo(near.dtype).tiny)
        alpha = _per_row(share.clamp(max=self.alpha_max), clean)
        ends = base + self.eta * ahead, clean + self.eta * direct
        walked = ((1.0 - alpha) * ends[0] + alpha * ends[1]).clamp(0.0, 1.0)
        return torch.where(walked.isfinite(), walked, current)


def _per_row(values: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, ...), to multiply a batch of images."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
