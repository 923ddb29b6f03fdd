"""Running a column's attacks: the candidates for every row, and what they cost."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.judge import Judge, margin
from robustdeq.evaluation.protocol import Column, Stage
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel

SLACK = 1e-6  # by which float32 rounding may leave the threat set
_LOGITS = frozenset({"logits"})


@dataclass
class Crafted:
    """The most damaging candidate of every row, and whether each row withstood all of its own."""

    x: Tensor
    margin: Tensor
    standing: Tensor
    cost: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Crafter:
    """Attacks images batch by batch; only rows that all earlier stages left standing go on.

    Args:
        target: what is attacked.
        judge: decides which candidates succeeded, on a copy of its own.
        progress: called after every batch with the rows attacked so far, and all there are.
    """

    target: DefendedModel
    judge: Judge
    threat: ThreatModel
    batch_size: int
    progress: Callable[[int, int], None]

    def __call__(
        self, column: Column, seed: int, x: Tensor, y: Tensor, attacked: Tensor
    ) -> Crafted:
        """Attack the rows where `attacked` holds; the others keep their image."""
        crafted = Crafted(x.clone(), x.new_full((len(x),), torch.inf), attacked.clone())
        chosen, done = attacked.nonzero()[:, 0], 0
        self.progress(done, len(chosen))
        for rows in chosen.split(self.batch_size):
            for number, stage in enumerate(column.stages):
                noise = NoiseStream(seed).child("attack", number)
                self._stage(stage, noise, x, y, rows[crafted.standing[rows]], crafted)
            done += len(rows)
            self.progress(done, len(chosen))
        return crafted

    def _stage(
        self, stage: Stage, noise: NoiseStream, x: Tensor, y: Tensor, rows: Tensor, into: Crafted
    ) -> None:
        lost = self._attack(stage, noise, x, y, rows, into)
        # The surrogate thinks these broken and the judge does not: they are attacked once more.
        again = rows[lost & into.standing[rows]]
        self._attack(stage, noise.child("again"), x, y, again, into)

    def _attack(
        self, stage: Stage, noise: NoiseStream, x: Tensor, y: Tensor, rows: Tensor, into: Crafted
    ) -> Tensor:
        """Which of the rows the surrogate thinks broken, after the attack."""
        if not len(rows):
            return rows.bool()
        surface = stage.surrogate.bind(self.target, noise)
        candidates = stage.attack.perturb(surface, x[rows], y[rows], rows, self.threat, noise)
        into.cost.update(surface.cost.counts)
        require_inside(self.threat, x[rows], candidates, stage.attack.plugin_name())
        logits = torch.stack([self.judge.repeat(c, rows) for c in candidates])
        margins = torch.stack([margin(answer, y[rows]) for answer in logits])
        margins = torch.where(torch.isfinite(logits).all(2), margins, -torch.inf)
        lowest, chosen = margins.min(0)
        lower = lowest < into.margin[rows]
        into.x[rows[lower]] = candidates[chosen[lower], lower.nonzero()[:, 0]]
        into.margin[rows[lower]] = lowest[lower]
        into.standing[rows] = into.margin[rows] > 0
        return surface.view(candidates[0], rows, _LOGITS).logits.argmax(1) != y[rows]


def require_inside(threat: ThreatModel, x: Tensor, candidates: Tensor, attack: str) -> None:
    """The ball law: nothing outside the threat set is judged, and nothing is clipped in silence.

    Raises:
        ContractViolation: names the attack and the excess.
    """
    for candidate in candidates:
        worst = threat.excess(x, candidate).max().item()
        if not worst <= SLACK:
            raise ContractViolation(
                f"attack {attack!r} left the {threat.plugin_name()} ball of radius {threat.eps} or "
                f"[0, 1] by {worst:.3g}; project its result with `threat.project`"
            )
