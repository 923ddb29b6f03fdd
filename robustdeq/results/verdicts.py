"""What one record says of each image, held against its own figures."""

import numpy as np
from numpy import ndarray

from robustdeq.errors import StoreError
from robustdeq.results.record import Record
from robustdeq.results.store import ResultStore
from robustdeq.results.tables import to_numpy


def verdicts(store: ResultStore, record: Record) -> tuple[ndarray, ndarray]:
    """Clean correctness and survival of all attack seeds, each (n,) over the data slice.

    Survival is the share of draws that are right where the entrant's answers are random.

    Raises:
        StoreError: the samples do not give the record's own figures.
    """
    table = store.samples(record, ["index", "label", "clean_pred", "robust"], ["survival"])
    outcome = "survival" if "survival" in table.column_names else "robust"
    index = to_numpy(table, "index")
    if len(index) == 0 or index.min() < 0 or index.max() >= record.data["n"]:
        raise StoreError(
            f"record {record.stem}: sample indices leave 0..{record.data['n'] - 1}; retract it"
        )
    correct = np.full(record.data["n"], np.nan)
    survived = correct.copy()
    np.fmin.at(correct, index, to_numpy(table, "label") == to_numpy(table, "clean_pred"))
    np.fmin.at(survived, index, to_numpy(table, outcome))
    n = np.count_nonzero(~np.isnan(survived))
    figures = (
        ("n", record.n, n),
        ("clean", record.clean, np.nansum(correct) / n),
        ("robust", record.robust, np.nansum(survived) / n),
    )
    for name, stored, computed in figures:
        if stored is None or abs(stored - computed) > 1e-6:
            raise StoreError(
                f"record {record.stem} says {name} is {stored}, but its samples give "
                f"{computed:.6g}; retract it and run the same command again"
            )
    return correct, survived
