"""Small records and stores with verdicts chosen by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import AUDIT
from robustdeq.spec import digest

N = 12
DIGEST = "d1" * 32
DATA = {"name": "digits", "digest": DIGEST, "n": N}
THREAT = {"name": "linf", "version": 1, "eps": "3/16"}
DEQ = {
    "solver": "picard",
    "tolerance": 0.001,
    "budget": 60,
    "converged_clean": 1.0,
    "converged_adversarial": 0.975,
}
EXPLICIT = dict.fromkeys(DEQ)


def column(name: str, seeds: tuple[int, ...] = (0,), **settings: Any) -> dict[str, Any]:
    attack, surrogate = {"name": name, "version": 1}, {"name": "defended", "version": 1}
    stages = [{"attack": attack, "surrogate": surrogate}]
    return {"name": name, "stages": stages, "seeds": list(seeds), **settings}


def protocol(
    name: str = "tiny-v1", seeds: tuple[int, ...] = (0,), columns: tuple[str, ...] = ("pgd", "apgd")
) -> dict[str, Any]:
    return {
        "name": name,
        "data": DATA,
        "threat": THREAT,
        "training_seeds": list(seeds),
        "columns": [column(each) for each in columns],
    }


def spec(chain: str) -> dict[str, Any]:
    """The encoded plug-in of a defense chain."""
    name, _, base = chain.partition("/")
    return {"name": name, "version": 1, **({"base": spec(base)} if base else {})}


def weights(text: str) -> str:
    """A checkpoint digest that is a function of a text."""
    return text.encode().hex().ljust(64, "0")[:64]


def survivors(count: int, n: int = N, start: int = 0) -> np.ndarray:
    """`count` of n images survive, the first of them at `start`."""
    return np.roll(np.arange(n) < count, start)


def samples(
    verdicts: np.ndarray, wrong: int = 0, attack_seeds: Sequence[int] | None = None
) -> pa.Table:
    """(attack seeds, n) verdicts as a table; the last `wrong` images are misclassified clean."""
    seeds, n = verdicts.shape
    index = np.tile(np.arange(n, dtype=np.int32), seeds)
    label = (index % 10).astype(np.int16)
    clean = np.where(index >= n - wrong, (label + 1) % 10, label).astype(np.int16)
    robust = verdicts.ravel()
    zeros = np.zeros(len(index), dtype=np.float32)
    nfe = np.full(len(index), 20, dtype=np.int32)
    return pa.table(
        {
            "index": index,
            "attack_seed": np.repeat(np.int32(attack_seeds or range(seeds)), n),
            "label": label,
            "clean_pred": clean,
            "adv_pred": np.where(robust, label, (label + 1) % 10).astype(np.int16),
            "robust": robust,
            "distance": zeros + np.float32(0.1875),
            "margin": np.where(robust, 1.0, -1.0).astype(np.float32),
            "nfe_clean": nfe,
            "nfe_adv": nfe,
            "residual_clean": zeros,
            "residual_adv": zeros,
        }
    )


def add(
    store: ResultStore,
    chain: str,
    verdicts: Any,
    *,
    name: str = "pgd",
    seed: int = 0,
    checkpoint: str | None = None,
    run: int = 0,
    wrong: int = 0,
    recipe: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
    created: str = "2026-01-01T00:00:00Z",
    flags: tuple[str, ...] = (),
    deployment: dict[str, Any] = DEQ,
    settings: dict[str, Any] | None = None,
    adaptive: tuple[dict[str, Any], ...] = (),
    control: str | None = None,
    extra: dict[str, pa.Table] | None = None,
    sources: tuple[dict[str, Any], ...] = (),
    seconds: float = 1.0,
) -> Record:
    """Append the record of an entrant whose verdicts (n,) or (attack seeds, n) are given.

    None instead of verdicts is a refused column.
    """
    seeds = () if verdicts is None else range(np.atleast_2d(verdicts).shape[0])
    spec_of_column = {**column(name, tuple(seeds) or (0,)), **(settings or {})}
    if verdicts is not None and np.shape(verdicts)[-1] < N:
        spec_of_column["images"] = np.shape(verdicts)[-1]
    recipe = {"name": "central", **(recipe or {})}
    defense = {**spec(chain), **(fields or {})}
    entrant = {"chain": chain, "defense": defense, "recipe": recipe, "seed": seed}
    if adaptive:
        entrant["adaptive"] = list(adaptive)
    if control:
        entrant["control"] = spec(control)
    figures: dict[str, Any] = {"n": 0, "clean": None, "robust": None, "seeds": {}}
    tables = {}
    if verdicts is not None:
        matrix = np.atleast_2d(verdicts).astype(bool)
        n = matrix.shape[1]
        numbers = spec_of_column["seeds"]
        accuracies = {str(i): float(row.mean()) for i, row in zip(numbers, matrix, strict=True)}
        worst = float(matrix.all(0).mean())
        figures = {"n": n, "clean": 1 - wrong / n, "robust": worst, "seeds": accuracies}
        tables = {"samples": samples(matrix, wrong, numbers)}
    record = Record(
        schema=2,
        semantics=1,
        trial=trial(entrant, spec_of_column),
        checkpoint=weights(checkpoint or f"{chain}{recipe}{seed}{fields or ''}"),
        run=run,
        status="refused" if verdicts is None else "done",
        reason="the network has no equilibrium" if verdicts is None else None,
        entrant=entrant,
        column=spec_of_column,
        data=DATA,
        threat=THREAT,
        sources=sources,
        flags=tuple({"name": flag, "detail": "by hand"} for flag in flags),
        cost={} if verdicts is None else {"forward": 400.0, "vjp": 380.5, "calls": 21.0},
        deployment=deployment,
        provenance={"created": created, "seconds": seconds},
        **figures,
    )
    store.append(record, tables | (extra or {}))
    return record


def audit_all(store: ResultStore) -> None:
    """An audit that finds nothing, of all weights that have none."""
    passed = {"check": "gradient: x", "index": None, "value": 0.0, "detail": "passed; by hand"}
    table = pa.Table.from_pylist([passed], schema=AUDIT)
    audit_column = {"name": "audit", "stages": [], "seeds": [0, 1], "goal": "audit"}
    shares = dict.fromkeys(("converged_clean", "converged_adversarial"))
    for record in store.scan({"status": "done"}):
        made = replace(
            record, trial=trial(record.entrant, audit_column), column=audit_column, run=0, n=N,
            seeds={"0": record.robust}, flags=(), cost={}, sources=(),
            deployment={**record.deployment, **shares},
        )  # fmt: skip
        if not store.finished(made.trial, made.checkpoint):
            store.append(made, {"audit": table})


def trial(entrant: dict[str, Any], spec_of_column: dict[str, Any]) -> str:
    """The id of a trial, as the evaluation would name it: what is a default has no key."""
    who = {"defense": entrant["defense"], "recipe": entrant["recipe"]}
    who |= {"seed": entrant["seed"]} if entrant["seed"] else {}
    return digest({"entrant": who, "column": spec_of_column, "data": DATA, "threat": THREAT})


def tiny_store(root: Path) -> ResultStore:
    """Four entrants, one training seed, one of each kind of row."""
    store = ResultStore(root)
    note = "Verdicts chosen by hand: a check of the machinery."
    store.write_protocol("tiny-v1", {**protocol(), "note": note})
    add(store, "vanilla", survivors(1), wrong=1)
    add(store, "vanilla", survivors(0), name="apgd", wrong=1)
    add(store, "explicit", survivors(2), deployment=EXPLICIT)
    add(store, "explicit", None, name="apgd", deployment=EXPLICIT)
    add(store, "trades/vanilla", survivors(7), flags=("unconverged",))
    add(store, "trades/vanilla", survivors(7, start=1), name="apgd")
    add(store, "trades/vanilla", survivors(5), name="square")
    add(store, "adversarial-training/vanilla", survivors(8))
    return store
