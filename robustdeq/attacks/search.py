"""What an attack searches with: looks at a surface, and the memory of what they found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.incumbents import Incumbents
from robustdeq.errors import ContractViolation
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective
from robustdeq.samples import Samples
from robustdeq.surface import Reading
from robustdeq.threats.base import ThreatModel

MOST = 3  # candidates a row
_LOGITS = frozenset({"logits"})


@dataclass(frozen=True)
class Points:
    """Where some of the samples that are attacked stand.

    Attributes:
        index: (n,) their places in the batch.
        samples: as they were before the attack.
        x: (n, *image) the images now.
    """

    index: Int[Tensor, " n"]
    samples: Samples
    x: Float[Tensor, "n *image"]

    def __len__(self) -> int:
        return len(self.index)

    def select(self, keep: Bool[Tensor, " n"]) -> "Points":
        """Those where a mask holds."""
        if keep.all():
            return self
        return Points(self.index[keep], self.samples.select(keep), self.x[keep])

    def moved(self, x: Float[Tensor, "n *image"]) -> "Points":
        """The same samples elsewhere."""
        return replace(self, x=x)


class Search:
    """One attack on some samples: it looks, remembers the best, and drops who is broken.

    Every look is entered in a ledger (see `Incumbents`). At the end the ledger's candidates go
    before the judge, or what the attack has put forward itself.

    Args:
        attack: its name, for messages.
        approach: whom to look at and to ask, and where to begin.

    Attributes:
        surface: what is looked at.
        samples: what is attacked.
        threat: the set that candidates have to lie in.
        noise: the source of all random numbers, keyed by the samples' positions, so that a sample
            is attacked alike in any batch.
    """

    def __init__(
        self,
        attack: str,
        approach: Approach,
        samples: Samples,
        threat: ThreatModel,
        noise: NoiseStream,
    ):
        self._attack, self._approach = attack, approach
        self.surface, self.threat, self.noise = approach.surface, threat, noise
        self.samples = samples.moved(samples.images.detach())
        self._found = Incumbents(approach, self.samples)
        self._forward: list[Tensor] = []

    def standing(self) -> Points:
        """The samples that no look has broken yet, as they were before the attack."""
        index = self._found.active()
        part = self.samples.select(index)
        return Points(index, part, part.images)

    def start(self, *names: str | int, draw: int = 0) -> Points:
        """The same, where search number `draw` of them begins: at random, mostly.

        Args:
            names: of the random numbers; searches of other names begin elsewhere.
        """
        points = self.standing()
        if not len(points):
            return points
        noise = self.noise.child(*names)
        return points.moved(self._approach.start(points.samples, self.threat, noise, draw))

    def wrong_classes(self, count: int) -> list[Int[Tensor, " batch"]]:
        """At most so many targets (B,): the wrong classes of the clean images, likeliest first."""
        if not len(self.samples):
            return []
        logits = self.surface.view(self.samples.images, self.samples.positions, _LOGITS).logits
        wrong = logits.scatter(1, self.samples.labels[:, None], -torch.inf)
        return list(wrong.topk(min(count, wrong.shape[1] - 1), dim=1).indices.T)

    def value(
        self, points: Points, objective: Objective, target: Int[Tensor, " batch"] | None = None
    ) -> Reading:
        """Look at some points without a gradient; nobody is asked about none."""
        return self._looked(self.surface.value, points, objective, target)

    def gradient(
        self,
        points: Points,
        objective: Objective,
        target: Int[Tensor, " batch"] | None = None,
        inside: Bool[Tensor, " n"] | None = None,
    ) -> Reading:
        """Look at some points with a gradient; nobody is asked about none.

        Args:
            inside: which of them lie in the threat set and may be candidates; by default all.
        """
        return self._looked(self.surface.value_and_grad, points, objective, target, inside)

    def left(self, points: Points) -> Bool[Tensor, " n"]:
        """Which of these samples no look has broken yet."""
        return self._found.left(points.index)

    def ascend(
        self,
        points: Points,
        objective: Objective,
        sizes: Iterable[Fraction],
        target: Int[Tensor, " batch"] | None = None,
    ) -> Points:
        """Steps of steepest ascent within the threat set, with a look before each.

        Args:
            sizes: of the steps, as fractions of the radius.

        Returns:
            Where those end that no look has broken; there they have not been looked at.
        """
        for size in sizes:
            reading, left = self.gradient(points, objective, target), self.left(points)
            if not left.any():
                return points.select(left)
            assert reading.gradient is not None
            points, up = points.select(left), self.threat.steepest(reading.gradient[left])
            moved = points.x + float(self.threat.eps * size) * up
            points = points.moved(self.threat.project(moved, points.samples.images))
        return points

    @property
    def idle(self) -> bool:
        """Whether nothing was looked at and nothing put forward."""
        return not (self._forward or self._found.observed)

    def put_forward(self, x: Any) -> None:
        """A candidate (B, *image) for every sample, in place of the ledger's; the best comes first.

        Raises:
            ContractViolation: it is no image for each sample, or the fourth.
        """
        wanted = self.samples.images
        if not isinstance(x, Tensor):
            raise self._refused(f"a {type(x).__name__}")
        if x.shape != wanted.shape or x.dtype != wanted.dtype or x.device != wanted.device:
            raise self._refused(f"{x.dtype} of shape {tuple(x.shape)} on {x.device}")
        if len(self._forward) == MOST:
            raise self._refused(f"more than {MOST} candidates")
        self._forward.append(x)

    def candidates(self) -> Float[Tensor, "candidates batch *image"]:
        """What the judge is shown, one to three images for each sample, the best first."""
        return torch.stack(self._forward) if self._forward else self._found.candidates()

    def _refused(self, what: str) -> ContractViolation:
        x = self.samples.images
        return ContractViolation(
            f"attack {self._attack!r} puts forward {what}; expected 1 to {MOST} candidates, each "
            f"{x.dtype} of shape {tuple(x.shape)} on {x.device}, as the images are"
        )

    def _looked(
        self,
        look: Callable[..., Reading],
        points: Points,
        objective: Objective,
        target: Int[Tensor, " batch"] | None,
        inside: Bool[Tensor, " n"] | None = None,
    ) -> Reading:
        if not len(points):
            none = points.x.new_zeros(0)
            return Reading(none, none[:, None], points.x)
        towards = None if target is None else target[points.index]
        reading = look(points.samples.moved(points.x), objective, towards)
        found = slice(None) if inside is None else inside
        self._found.observe(
            points.index[found], points.x[found], reading.value[found], reading.logits[found]
        )
        return reading._replace(value=reading.value.detach(), logits=reading.logits.detach())
