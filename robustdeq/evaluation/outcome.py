"""What came of a trial: its models, its attacks and verdicts, and the record made of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from robustdeq.data.base import Split
from robustdeq.errors import Unchecked
from robustdeq.evaluation.bench import Guard, Setting, deployment_of, settled
from robustdeq.evaluation.budget import budget_findings
from robustdeq.evaluation.checks import (
    Finding,
    postflight,
    stage_findings,
    undirected,
    view_mismatch,
)
from robustdeq.evaluation.crafting import Crafted, Crafter
from robustdeq.evaluation.described import Described
from robustdeq.evaluation.exact_pass import crafted_and_checked
from robustdeq.evaluation.fates import TABLES, Fate
from robustdeq.evaluation.judge import Verdict
from robustdeq.evaluation.precision import flips
from robustdeq.evaluation.remembered import Remembered
from robustdeq.evaluation.remote import Model, ask, derived
from robustdeq.evaluation.sides import sides
from robustdeq.evaluation.width import require_width
from robustdeq.progress import Progress
from robustdeq.results.store.protocol import view_label
from robustdeq.results.store.record import Record
from robustdeq.samples import Samples
from robustdeq.spec import encode
from robustdeq.surrogates.defended import Defended

Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class Copies:
    """Where fresh copies of a trial's models come from.

    Attributes:
        load: builds the entrant; the attacked and the judged copy are two.
        sources: builds the networks that columns transfer from.
        apart: builds the copies that judge and that searches ask, where these live apart.
    """

    load: Callable[[], Model]
    sources: Callable[[], tuple[Model, ...]]
    apart: Callable[[], Model] | None = None


class Outcome:
    """The facts of a finished trial.

    Attributes:
        samples: as they were before.
        inside: a copy of the judged model whose inside may be looked at.
    """

    def __init__(
        self,
        trial: Described,
        copies: Copies,
        setting: Setting,
        target: Model,
        split: Split,
        progress: Progress,
    ):
        column = trial.column
        self.trial, self._target = trial, target
        self._sources = tuple(derived(each, settled) for each in copies.sources())
        samples = split.samples().select(column.positions(len(split))).to(setting.device)
        self.samples = samples
        self._x, self._y, self._rows = samples.images, samples.labels, samples.positions
        require_width(target, samples)
        found = sides(
            copies.load, samples, setting.batch_size, setting.randomised, setting.salt,
            column.deployment, copies.apart,
        )  # fmt: skip
        self._findings, self._roles, self._judge = [*found.findings], found.roles, found.judge
        self.inside = found.inside
        self._setting = replace(setting, randomised=found.judge.randomised)
        asked = (found.attacked, found.judge.target, *self._sources)
        self._guards = [Guard(model) for model in asked]
        self._clean = self._judge(samples)
        remembered = Remembered(found.judge.target)
        idle = self._check_gradient()
        self._crafted: dict[int, Crafted] = {}
        self._flips: dict[int, Tensor] = {}
        self._adversarial: dict[int, Verdict] = {}
        craft = Crafter(
            self._roles.attacked, self._judge, trial.threat, column.stages, setting.batch_size,
            column.aim, progress, self._sources, idle, found.asked,
        )  # fmt: skip
        attacked = self._judge.attackable(samples, self._clean)
        for seed in trial.column.seeds:
            self._attack(craft, seed, attacked)
        self._findings += remembered.findings()

    def _attack(self, craft: Crafter, seed: int, attacked: Tensor) -> None:
        """Attack and judge under one seed; `attacked` says which samples are there to lose."""
        crafted, findings = crafted_and_checked(craft, self.samples, seed, attacked)
        self._findings += [*findings, *undirected(crafted.cost.undirected, int(attacked.sum()))]
        self._crafted[seed] = crafted
        self._adversarial[seed] = self._judge(self.samples.moved(crafted.x))
        self._flips[seed] = self._in_float64(crafted.x, self._adversarial[seed].labels)
        self._check(crafted, self._adversarial[seed])

    def check_untouched(self) -> None:
        """
        Raises:
            ContractViolation: the evaluation changed a model that it asked, or global state.
        """
        for guard in self._guards:
            guard.check()

    def robust(self, seed: int) -> Tensor:
        """(n,) which rows withstood everything under one attack seed, by the judge's one draw."""
        return self._clean.right & self._crafted[seed].standing & self._adversarial[seed].right

    @cached_property
    def _survival(self) -> dict[int, Tensor]:
        """(n,) by attack seed: of a randomised entrant the share of fresh draws that are right."""
        return {
            seed: self._judge.survival(self._found(seed), self.robust(seed))
            for seed in self.trial.column.seeds
        }

    def _found(self, seed: int) -> Samples:
        """What the attack made of the samples."""
        return self.samples.moved(self._crafted[seed].x)

    def record(self, started: float) -> tuple[Record, Tables]:
        """The record and its tables."""
        each = self._survival
        worst = torch.stack(list(each.values())).amin(0)
        cost = sum((c.cost.counts for c in self._crafted.values()), Counter())
        n = len(self._x)
        record = Record(
            **self._setting.identity(self.trial),
            status="done",
            reason=None,
            n=n,
            clean=self._clean.right.double().mean().item(),
            robust=worst.double().mean().item(),
            seeds={str(seed): robust.double().mean().item() for seed, robust in each.items()},
            flags=tuple({"name": f.name, "detail": f.detail} for f in _once(self._findings)),
            cost={name: cost[name] / n for name in sorted(cost)},
            deployment=self._deployment(),
            provenance=self._setting.provenance(started),
        )
        fates = [self._fate(seed) for seed in each]
        tables = {name: pa.concat_tables(map(make, fates)) for name, make in TABLES.items()}
        return record, tables | self.trial.column.aim.more_tables(self)

    def _fate(self, seed: int) -> Fate:
        return Fate(
            seed, self._rows, self._x, self._y, self._clean, self._crafted[seed].x,
            self._adversarial[seed], self.robust(seed),
            self._survival[seed] if self._setting.randomised else None,
            self.trial.threat, self._flips[seed],
        )  # fmt: skip

    def _check_gradient(self) -> frozenset[int]:
        """The stages that no gradient reaches, though their attack follows one."""
        idle = set()
        for number, stage in enumerate(self.trial.column.stages):
            if stage.surrogate.needs_sources:
                continue  # a flat loss of another network says nothing about this one
            attacked, salt = self._roles.attacked, self._setting.salt
            findings = ask(attacked, stage_findings, stage, self.samples, salt, self._sources)
            self._findings += findings
            if stage.attack.needs_gradient and any(f.name == "missing-gradient" for f in findings):
                idle.add(number)
        return frozenset(idle)

    def _check(self, crafted: Crafted, verdict: Verdict) -> None:
        attacked = self._clean.right
        self._findings += postflight(self._target, self._clean, verdict, attacked)
        if self._roles.compared is not None:
            self._findings += budget_findings(
                self._roles.compared,
                self.samples.moved(crafted.x),
                verdict.right,
                self._judge.salt,
            )
            return  # the attacked and the judged model are two, by design
        judged = Samples(crafted.x, verdict.labels, self._rows).select(attacked)
        for stage in self.trial.column.stages:
            if isinstance(stage.surrogate, Defended):
                # Fast mode reads states that are on their way: the exact view has to match.
                self._findings += view_mismatch(
                    Defended(), self._roles.attacked, judged, self._judge.salt
                )

    def _in_float64(self, x: Tensor, labels: Tensor) -> Tensor:
        """(n,) which rows have another label in float64; none, with a finding, if none has one."""
        try:
            return ask(self.inside, flips, x, labels)
        except Unchecked as error:
            self._findings.append(Finding("unchecked", str(error)))
            return torch.zeros_like(labels, dtype=torch.bool)

    def inputs(self, seed: int) -> dict[str, Tensor]:
        """The clean images, and what each stage found (n, *image), by what they are called."""
        views = [view_label(encode(stage.surrogate)) for stage in self.trial.column.stages]
        found = self._crafted[seed].by_stage
        return {"clean": self._x, **dict(zip(views, found, strict=True))}

    def _deployment(self) -> dict[str, Any]:
        deployment = asdict(ask(self._target, deployment_of))
        if deployment["solver"] is None:
            return {**deployment, "converged_clean": None, "converged_adversarial": None}
        shares = [v.prediction.converged.double().mean() for v in self._adversarial.values()]
        clean = self._clean.prediction.converged.double().mean()
        return {
            **deployment,
            "converged_clean": clean.item(),
            "converged_adversarial": torch.stack(shares).min().item(),
        }


def _once(findings: list[Finding]) -> list[Finding]:
    """The first finding of each name."""
    return list({finding.name: finding for finding in reversed(findings)}.values())[::-1]
