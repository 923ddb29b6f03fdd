"""To keep the solver busy: the slow-down attack."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from robustdeq.goals.base import Goal
from robustdeq.results.formats.markdown import per_cent, plain, table
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import to_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from robustdeq.evaluation.judge import Judge
    from robustdeq.samples import Samples

_SLOW = (
    "entrant", "evaluations, clean", "attacked", "factor", "slowest tenth", "past the limit",
    "right, clean", "right, attacked", "limit", "n", "seeds",
)  # fmt: skip


@dataclass(frozen=True)
class Cost(Goal):
    """No image leaves the attack early; kept is the candidate that costs most evaluations."""

    title: ClassVar[str] = "slow-down"

    def damage(self, judge: "Judge", candidate: "Samples") -> "Tensor":
        return judge.answer(candidate.images, candidate.positions).nfe

    def report(self, store: ResultStore, protocol: str) -> str:
        """What the attack costs each entrant; means over training seeds."""
        rows = [_slowed(store, chain, records) for chain, records in self.records(store, protocol)]
        return (
            f"# Slow-down attack on {protocol}\n\n"
            "Cell evaluations per image by the deployed predictor, cold. The factor is the ratio "
            "of the means; the slowest tenth is the 90th percentile of the attacked images; past "
            "the limit is the share, in per cent, of attacked images whose solve missed its "
            "tolerance; accuracies, in per cent, are those under the deployed limit.\n\n"
            + table(_SLOW, rows, left=("entrant",))
            + "\n"
        )


def _slowed(store: ResultStore, chain: str, records: list[Record]) -> list[str]:
    facts = [_cost(store, record) for record in records]
    clean, attacked, tenth, past, right, kept = np.mean(facts, axis=0)
    limit = records[0].deployment
    return [
        chain, f"{clean:.1f}", f"{attacked:.1f}", f"{attacked / clean:.2f}", f"{tenth:.0f}",
        per_cent(past), per_cent(right), per_cent(kept),
        f"{plain(limit['solver'])}, {plain(limit['tolerance'])}, {plain(limit['budget'])} steps",
        str(min(record.n for record in records)), str(len(records)),
    ]  # fmt: skip


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
