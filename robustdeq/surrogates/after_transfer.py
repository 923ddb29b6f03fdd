"""Straight through an inference defense, from inputs that were made without it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.approach import Approach, at_random, nobody
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.surface import Cost
from robustdeq.surrogates.base import Sources, Surrogate, confirmed
from robustdeq.surrogates.defended import Defended, relaxed_surface
from robustdeq.surrogates.undefended import Undefended, without_inference
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class AfterTransfer(Surrogate):
    """`straight-through`, where a search begins at an input that fools the bare network widely.

    An inference defense that rewrites its input hides the way to a wrong answer from gradients at a
    random point. An input that the same weights without it misread by a wide margin is often
    misread with it, or nearly: from there the gradient straight through the defense, at the
    rewritten input and the defended state, has a short way to go. Such inputs are found by targeted
    Auto-PGD on the margin, which spends its whole budget on every row.

    Attributes:
        steps: of the search on the bare network.
        targets: classes that it moves to in turn.
    """

    steps: int = 20
    targets: int = 2

    def __post_init__(self):
        if self.steps < 1 or self.targets < 1:
            raise SpecError(f"steps {self.steps}, targets {self.targets}; expected at least 1 each")

    def applies(self, target: DefendedModel) -> str | None:
        return Undefended().applies(target)

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        approach = confirmed(relaxed_surface(target, noise), target, noise)
        bare = replace(Defended().bind(without_inference(target), noise), confirm=nobody)
        attack = APGD(self.steps, targets=self.targets, objective=Margin())
        return replace(approach, start=_Transferred(bare, attack, approach.surface.cost))


class _Transferred:
    """Where a search begins: at what fools the bare network, looked for once for each sample."""

    def __init__(self, bare: Approach, attack: APGD, cost: Cost):
        self._bare, self._attack, self._cost = bare, attack, cost
        self._starts: dict[int, Tensor] = {}

    def __call__(
        self, samples: Samples, threat: ThreatModel, noise: NoiseStream, draw: int
    ) -> Tensor:
        if draw:
            return at_random(samples, threat, noise, draw)
        positions = samples.positions.tolist()
        new = torch.tensor([each not in self._starts for each in positions])
        if bool(new.any()):
            some = samples.select(new.to(samples.positions.device))
            found = self._attack.perturb(self._bare, some, threat, noise.child("transfer"))
            spent = self._bare.surface.cost.counts
            self._cost.add(**spent)
            spent.clear()
            self._starts |= zip(some.positions.tolist(), found[0], strict=True)
        return torch.stack([self._starts[each] for each in positions])
