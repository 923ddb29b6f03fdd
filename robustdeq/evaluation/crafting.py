"""Running a column's attacks: the candidates for every row, and what they cost."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustdeq.answers import labels
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import Column, Stage
from robustdeq.noise import NoiseStream
from robustdeq.precision import full_precision
from robustdeq.surrogates.base import Elsewhere, Sources
from robustdeq.threats.base import ThreatModel

SLACK = 1e-6  # by which float32 rounding may leave the threat set
_LOGITS = frozenset({"logits"})


@dataclass
class Crafted:
    """The most damaging candidate of every row, and whether each row withstood all of its own.

    Attributes:
        damage: of that candidate: the judge's `harm`, or for a column whose goal is cost the
            judge's evaluations.
        by_stage: what each stage alone put forward (n, *image), where the column's goal is a map.
    """

    x: Tensor
    damage: Tensor
    standing: Tensor
    by_stage: tuple[Tensor, ...] = ()
    cost: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Crafter:
    """Attacks images batch by batch; only rows that all earlier stages left standing go on.

    Args:
        target: what is attacked.
        judge: decides which candidates succeeded, on a copy of its own.
        sources: the column's other networks.
        idle: numbers of the stages that no gradient reaches, and so have nothing to follow.
        progress: called after every stage of a batch with how many rows that makes, and how many it
            will make: a row of two stages counts twice.
    """

    target: DefendedModel
    judge: Judge
    threat: ThreatModel
    batch_size: int
    progress: Callable[[int, int], None]
    sources: Sources = ()
    idle: frozenset[int] = frozenset()

    @full_precision()
    def __call__(
        self, column: Column, seed: int, x: Tensor, y: Tensor, attacked: Tensor
    ) -> Crafted:
        """Attack the rows where `attacked` holds; the others keep their image."""
        crafted = Crafted(x.clone(), x.new_full((len(x),), -torch.inf), attacked.clone())
        if column.goal == "map":
            crafted.by_stage = tuple(x.clone() for _ in column.stages)
        chosen, done = attacked.nonzero()[:, 0], 0
        stages = [each for each in enumerate(column.stages) if each[0] not in self.idle]
        total = len(chosen) * len(stages)
        self.progress(done, total)
        for rows in chosen.split(self.batch_size):
            for number, stage in stages:
                run = _Run(self, column.goal, number, stage, x, y, crafted)
                run(NoiseStream(seed, self.judge.salt).child("attack", number), rows)
                done += len(rows)
                self.progress(done, total)
        return crafted


@dataclass(frozen=True)
class _Run:
    """One stage of a column on some rows, entered into what was crafted so far."""

    crafter: Crafter
    goal: str
    number: int
    stage: Stage
    x: Tensor
    y: Tensor
    into: Crafted

    def __call__(self, noise: NoiseStream, rows: Tensor) -> None:
        if self.goal != "label":
            self._attack(noise, rows)
            return
        rows = rows[self.into.standing[rows]]
        lost = self._attack(noise, rows)
        # The surrogate thinks these broken and the judge does not: they are attacked once more.
        self._attack(noise.child("again"), rows[lost & self.into.standing[rows]])

    def _attack(self, noise: NoiseStream, rows: Tensor) -> Tensor:
        """Which of the rows the surrogate thinks broken, after the attack."""
        if not len(rows):
            return rows.bool()
        crafter, stage, x, y = self.crafter, self.stage, self.x[rows], self.y[rows]
        surface = stage.surrogate.bind(crafter.target, noise, crafter.sources)
        if self.goal != "label":
            surface = Elsewhere(surface, None)
        candidates = stage.attack.perturb(surface, x, y, rows, crafter.threat, noise)
        self.into.cost.update(surface.cost.counts)
        require_inside(crafter.threat, x, candidates, stage.attack.plugin_name())
        self._enter(rows, candidates)
        return labels(surface.view(candidates[0], rows, _LOGITS).logits) != y

    def _enter(self, rows: Tensor, candidates: Tensor) -> None:
        judge, into = self.crafter.judge, self.into
        if self.goal == "cost":
            effort = [judge.answer(candidate, rows).nfe for candidate in candidates]
            each = torch.stack(effort).to(into.damage)
        else:
            each = torch.stack([judge.harm(x, self.y[rows], rows) for x in candidates])
        worst, chosen = each.max(0)
        better = worst > into.damage[rows]
        into.x[rows[better]] = candidates[chosen[better], better.nonzero()[:, 0]]
        into.damage[rows[better]] = worst[better]
        if self.goal == "label":
            into.standing[rows] = into.damage[rows] < 0
        if into.by_stage:
            into.by_stage[self.number][rows] = candidates[0]


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
