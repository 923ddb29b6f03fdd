"""Reports of the columns that aim at something other than the label: slow-down and state map."""

from collections import defaultdict
from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np

from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.markdown import NONE, per_cent, plain, table
from robustdeq.results.record import Record
from robustdeq.results.store import ResultStore
from robustdeq.results.tables import to_numpy

_SLOW = (
    "entrant", "evaluations, clean", "attacked", "factor", "slowest tenth", "past the limit",
    "right, clean", "right, attacked", "limit", "n", "seeds",
)  # fmt: skip


def slow_down(store: ResultStore, protocol: str) -> str:
    """What the slow-down attack costs each entrant, as Markdown; means over training seeds.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: it has no record of a column whose goal is cost.
    """
    rows = [_slowed(store, chain, records) for chain, records in _records(store, protocol, "cost")]
    return (
        f"# Slow-down attack on {protocol}\n\n"
        "Cell evaluations per image by the deployed predictor, cold. The factor is the ratio of "
        "the means; the slowest tenth is the 90th percentile of the attacked images; past the "
        "limit is the share, in per cent, of attacked images whose solve missed its tolerance; "
        "accuracies, in per cent, are those under the deployed limit.\n\n"
        + table(_SLOW, rows, left=("entrant",))
        + "\n"
    )


def state_map(store: ResultStore, protocol: str) -> str:
    """Accuracy for every view attacked and every state judged, entrant by entrant, as Markdown.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: it has no record of a column whose goal is a map.
    """
    blocks = [
        f"# State maps on {protocol}",
        "Accuracy in per cent when the state after so many solver steps, or the answer, is read "
        "out; a line for each view that was attacked, with its whole budget and no regard to the "
        "deployed answer. Then the mean entropy of those read-outs, in nats, and the median "
        "relative residual. Means over training seeds.",
    ]
    for chain, records in _records(store, protocol, "map"):
        blocks.append(f"## {chain}\n\n{_maps(store, records)}")
    return "\n\n".join(blocks) + "\n"


def _records(store: ResultStore, protocol: str, goal: str) -> list[tuple[str, list[Record]]]:
    """The judged records of a protocol's columns of this goal, by entrant."""
    resolved = store.protocol(protocol)
    columns = [column for column in resolved.columns if column.get("goal") == goal]
    if not columns:
        raise StoreError(
            f"{protocol} has no column whose goal is {goal!r}, so there is nothing to tell; choose "
            f"with --protocol one that has, such as digits-linf-v2"
        )
    by_chain = defaultdict(list)
    for record in store.scan({"data.digest": resolved.data["digest"], "status": "done"}):
        if record.column in columns:
            by_chain[record.entrant["chain"]].append(record)
    if not by_chain:
        raise StoreError(
            f"{store.root} has no record of {protocol} whose goal is {goal!r}; run "
            f"{hint('run', 'PROTOCOL', '--results', store.root)} with its name or TOML file first"
        )
    return sorted(by_chain.items())


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


def _maps(store: ResultStore, records: list[Record]) -> str:
    lines = [line for record in records for line in store.table(record, "states").to_pylist()]
    shown: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("accuracy", "read-out attacked", per_cent),
        ("entropy", "entropy", lambda value: f"{value:.2f}"),
        ("residual", "residual", lambda value: f"{value:.1g}"),
    )
    return "\n\n".join(_matrix(lines, *each) for each in shown)


def _matrix(
    lines: list[dict[str, Any]], field: str, title: str, text: Callable[[float], str]
) -> str:
    found = defaultdict(list)
    for line in lines:
        found[line["attacked"], line["judged"]].append(line[field])
    views = list(dict.fromkeys(line["attacked"] for line in lines))
    states = list(dict.fromkeys(line["judged"] for line in lines))
    header = [title, *("answer" if state is None else f"z_{state}" for state in states)]
    rows = [
        [
            view,
            *(text(fmean(found[view, s])) if (view, s) in found else NONE for s in states),
        ]
        for view in views
    ]
    return table(header, rows, left=(title,))
