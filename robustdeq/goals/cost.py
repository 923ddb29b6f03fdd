"""To keep the solver busy: the slow-down attack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robustdeq.goals.base import Goal
from robustdeq.results.page import Heading, Page, Table, Text
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import to_numpy
from robustdeq.results.text import per_cent, plain

if TYPE_CHECKING:
    from torch import Tensor

    from robustdeq.evaluation.judge import Judge
    from robustdeq.samples import Samples


@dataclass(frozen=True)
class Cost(Goal):
    """No image leaves the attack early; kept is the candidate that costs most evaluations."""

    title: ClassVar[str] = "slow-down"

    def damage(self, judge: "Judge", candidate: "Samples") -> "Tensor":
        return judge.answer(candidate.images, candidate.positions).nfe

    def page(self, store: ResultStore, protocol: str) -> Page:
        """What the attack costs each entrant; means over training seeds."""
        found = [_slowed(store, *each) for each in self.records(store, protocol)]
        return Page.of(
            Heading(f"Slow-down attack on {protocol}"),
            Text(
                "Cell evaluations per image by the deployed predictor, cold. The factor is the "
                "ratio of the means; the slowest tenth is the 90th percentile of the attacked "
                "images; past the limit is the share, in per cent, of attacked images whose solve "
                "missed its tolerance; accuracies, in per cent, are those under the deployed limit."
            ),
            Table.of(found, _COLUMNS, left=("entrant",)),
        )


@dataclass(frozen=True)
class _Slowed:
    """What the attack did to one entrant: means over its records."""

    chain: str
    records: list[Record]
    clean: float
    attacked: float
    tenth: float
    past: float
    right: float
    kept: float


_COLUMNS: Mapping[str, Callable[[_Slowed], str]] = MappingProxyType(
    {
        "entrant": lambda e: e.chain,
        "evaluations, clean": lambda e: f"{e.clean:.1f}",
        "attacked": lambda e: f"{e.attacked:.1f}",
        "factor": lambda e: f"{e.attacked / e.clean:.2f}",
        "slowest tenth": lambda e: f"{e.tenth:.0f}",
        "past the limit": lambda e: per_cent(e.past),
        "right, clean": lambda e: per_cent(e.right),
        "right, attacked": lambda e: per_cent(e.kept),
        "limit": lambda e: _limit(e.records[0].deployment),
        "n": lambda e: str(min(record.n for record in e.records)),
        "seeds": lambda e: str(len(e.records)),
    }
)


def _limit(deployed: dict[str, Any]) -> str:
    solver, tolerance, budget = map(plain, (deployed[n] for n in ("solver", "tolerance", "budget")))
    return f"{solver}, {tolerance}, {budget} steps"


def _slowed(store: ResultStore, chain: str, records: list[Record]) -> _Slowed:
    facts = np.mean([_cost(store, record) for record in records], axis=0)
    return _Slowed(chain, records, *facts.tolist())


def _cost(store: ResultStore, record: Record) -> list[float]:
    wanted = ("label", "clean_pred", "adv_pred", "nfe_clean", "nfe_adv", "residual_adv")
    samples = store.samples(record, wanted)
    column = {name: to_numpy(samples, name) for name in wanted}
    tolerance = record.deployment["tolerance"]
    past = column["residual_adv"] > tolerance if tolerance is not None else np.zeros(1)
    return [
        column["nfe_clean"].mean(),
        column["nfe_adv"].mean(),
        np.quantile(column["nfe_adv"], 0.9),
        past.mean(),
        (column["label"] == column["clean_pred"]).mean(),
        (column["label"] == column["adv_pred"]).mean(),
    ]
