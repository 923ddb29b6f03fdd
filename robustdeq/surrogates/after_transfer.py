"""Straight through an inference defence, from inputs that were made without it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustdeq.attacks.apgd import APGD
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.surrogates.base import Elsewhere, Sources, Surrogate
from robustdeq.surrogates.defended import Defended, relaxed_surface
from robustdeq.surrogates.undefended import Undefended, without_inference
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class AfterTransfer(Surrogate):
    """`straight-through`, where a search begins at an input that fools the bare network widely.

    An inference defence that rewrites its input hides the way to a wrong answer from gradients at a
    random point. An input that the same weights without it misread by a wide margin is often
    misread with it, or nearly: from there the gradient straight through the defence, at the
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

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Surface:
        bare = Elsewhere(Defended().bind(without_inference(target), noise), None)
        attack = APGD(self.steps, targets=self.targets, objective=Margin())
        return _AfterTransfer(relaxed_surface(target, noise), bare, attack)


class _AfterTransfer(Elsewhere):
    """A surface that knows where to begin; each row's start is searched for once."""

    def __init__(self, climbed: Surface, bare: Surface, attack: APGD):
        super().__init__(climbed, climbed)
        self._bare, self._attack = bare, attack
        self._starts: dict[int, Tensor] = {}

    def start(
        self, x: Tensor, y: Tensor, rows: Tensor, threat: ThreatModel, noise: NoiseStream,
        draw: int = 0,
    ) -> Tensor:  # fmt: skip
        if draw or not len(x):
            return threat.random_start(x, rows, noise, draw)
        new = torch.tensor([int(row) not in self._starts for row in rows], device=x.device)
        if bool(new.any()):
            stream = noise.child("transfer")
            samples = Samples(x[new], y[new], rows[new])
            found = self._attack.perturb(self._bare, samples, threat, stream)
            self.cost.add(**self._bare.cost.counts)
            self._bare.cost.counts.clear()
            self._starts |= zip(map(int, rows[new]), found[0], strict=True)
        return torch.stack([self._starts[int(row)] for row in rows])
