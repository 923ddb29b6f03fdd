"""Running the stages of an attack: the candidates for every row, and what they cost."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustdeq.aims import Aim, aim
from robustdeq.evaluation.attempt import Attacker
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.remote import Model
from robustdeq.noise import NoiseStream
from robustdeq.progress import Progress, unseen
from robustdeq.samples import Samples
from robustdeq.surface import Cost
from robustdeq.threats.base import ThreatModel


@dataclass
class Crafted:
    """The most damaging candidate of every row, and whether each row withstood all of its own.

    Attributes:
        damage: of that candidate, as the goal has it.
        by_stage: what each stage alone put forward (n, *image), where the goal keeps it apart.
    """

    x: Tensor
    damage: Tensor
    standing: Tensor
    by_stage: tuple[Tensor, ...] = ()
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Crafter:
    """Attacks images batch by batch; only rows that all earlier stages left standing go on.

    Args:
        target: what is attacked.
        judge: decides which candidates succeeded, on a copy of its own.
        stages: run in turn.
        goal: that of a column.
        progress: called after every stage of a batch with how many rows that makes, and how many it
            will make: a row of two stages counts twice.
        sources: the networks that `transfer` views climb.
        idle: numbers of the stages that no gradient reaches, and so have nothing to follow.
        asked: see `Attacker`.
    """

    target: Model
    judge: Judge
    threat: ThreatModel
    stages: tuple[Stage, ...]
    batch_size: int = 128
    goal: Aim = field(default_factory=lambda: aim("label"))
    progress: Progress = unseen
    sources: tuple[Model, ...] = ()
    idle: frozenset[int] = frozenset()
    asked: Model | None = None

    def __call__(self, samples: Samples, seed: int, attacked: Tensor) -> Crafted:
        """Attack the samples where `attacked` (n,) holds; the others keep their image."""
        x = samples.images
        crafted = Crafted(x.clone(), x.new_full((len(x),), -torch.inf), attacked.clone())
        if self.goal.by_stage:
            crafted.by_stage = tuple(x.clone() for _ in self.stages)
        chosen, done = attacked.nonzero()[:, 0], 0
        stages = [each for each in enumerate(self.stages) if each[0] not in self.idle]
        total = len(chosen) * len(stages)
        self.progress(done, total)
        for index in chosen.split(self.batch_size):
            for number, stage in stages:
                run = _Run(self, number, stage, samples, crafted)
                run(NoiseStream(seed, self.judge.salt).child("attack", number), index)
                done += len(index)
                self.progress(done, total)
        return crafted


@dataclass(frozen=True)
class _Run:
    """One stage on some samples, entered into what was crafted so far."""

    crafter: Crafter
    number: int
    stage: Stage
    samples: Samples
    into: Crafted

    def __call__(self, noise: NoiseStream, index: Tensor) -> None:
        if not self.crafter.goal.settles:
            self._attack(noise, index)
            return
        index = index[self.into.standing[index]]
        lost = self._attack(noise, index)
        # The surrogate thinks these broken and the judge does not: they are attacked once more.
        self._attack(noise.child("again"), index[lost & self.into.standing[index]])

    def _attack(self, noise: NoiseStream, index: Tensor) -> Tensor:
        """Which of the samples the surrogate thinks broken, after the attack."""
        if not len(index):
            return index.bool()
        crafter, part = self.crafter, self.samples.select(index)
        whole_budget = not crafter.goal.settles
        attack = Attacker(
            crafter.target, crafter.threat, crafter.sources, whole_budget, crafter.asked
        )
        found = attack(self.stage, part, noise)
        self.into.cost.book(found.cost)
        self._enter(index, part, found.candidates)
        return found.lost

    def _enter(self, index: Tensor, part: Samples, candidates: Tensor) -> None:
        judge, into, goal = self.crafter.judge, self.into, self.crafter.goal
        each = torch.stack([goal.damage(judge, part.moved(x)) for x in candidates])
        each = each.to(into.damage)
        worst, chosen = each.max(0)
        better = worst > into.damage[index]
        into.x[index[better]] = candidates[chosen[better], better.nonzero()[:, 0]]
        into.damage[index[better]] = worst[better]
        if goal.settles:
            into.standing[index] = into.damage[index] < 0
        if into.by_stage:
            into.by_stage[self.number][index] = candidates[0]
