"""What records of one data slice, or of the same weights, say of each other."""

from collections.abc import Iterable, Iterator

import numpy as np

from robustdeq.results.flags import INCONSTANT
from robustdeq.results.store.record import Record
from robustdeq.results.store.verdicts import Verdicts
from robustdeq.spec import canonical

Proven = tuple[Record, Verdicts | None]

_APART = 0.01  # of images that another machine's rounding may answer differently, and at least one
_SOLVER = ("solver", "tolerance", "budget")


def disagreements(proven: Iterable[Proven]) -> Iterator[tuple[Record, Record, str]]:
    """Pairs of records that cannot both be right, and why.

    Labels belong to the data: one digest, one list. Answers to clean images, and the solver, belong
    to the deployed weights, unless a flag says that answers vary.
    """
    labels: dict[str, Proven] = {}
    solvers: dict[str, Record] = {}
    answers: dict[str, Proven] = {}
    # Those with most images first, so that every other one has all of its own in common with it.
    for record, verdicts in sorted(proven, key=lambda pair: (-pair[0].n, pair[0].stem)):
        weights = canonical([record.checkpoint, record.entrant["defense"], record.semantics])
        solver = solvers.setdefault(weights, record)
        if told := _of_solvers(solver, record):
            yield solver, record, told
        if verdicts is None:
            continue
        first, seen = labels.setdefault(record.data["digest"], (record, verdicts))
        if told := _of_labels(seen, verdicts):
            yield first, record, told
        if INCONSTANT & {flag["name"] for flag in record.flags}:
            continue
        deployed = weights + canonical(record.column.get("deployment"))
        first, seen = answers.setdefault(deployed, (record, verdicts))
        if told := _of_answers(seen, verdicts):
            yield first, record, told


def _of_solvers(one: Record, other: Record) -> str | None:
    first, second = ([each.deployment[key] for key in _SOLVER] for each in (one, other))
    if first == second:
        return None
    return f"the same weights are deployed with {first} and with {second}"


def _of_labels(one: Verdicts | None, other: Verdicts) -> str | None:
    assert one is not None, "only records with samples are kept here"
    different = one.label[0][: len(other.label[0])] != other.label[0]
    if not different.any():
        return None
    return f"the label of image {np.flatnonzero(different)[0]} of the same data differs"


def _of_answers(one: Verdicts | None, other: Verdicts) -> str | None:
    assert one is not None, "only records with samples are kept here"
    answers = other.clean_pred[0]
    different = int((one.clean_pred[0][: len(answers)] != answers).sum())
    if different <= max(1.0, _APART * len(answers)):
        return None
    return f"clean_pred of the same weights differs on {different} of {len(answers)} images"
