import json
from dataclasses import replace

import pytest

from robustdeq.errors import SpecError, StoreError
from robustdeq.results.store.record import Record

from .examples import add, survivors


@pytest.fixture
def record(store):
    return add(store, "trades/vanilla", survivors(7), flags=("unconverged",))


def edited(record, **fields):
    return json.dumps({**json.loads(record.to_json()), **fields})


def test_a_record_survives_the_round_trip(record):
    assert Record.from_json(record.to_json()) == record


def test_a_record_is_named_by_trial_weights_and_run(record):
    assert record.stem == f"{record.trial}-{record.checkpoint[:8]}-0"


def test_a_half_written_record_is_named_with_what_to_do(record):
    text = record.to_json()
    with pytest.raises(
        StoreError, match=r"cut\.json .* delete it and run again the command that made it"
    ):
        Record.from_json(text[: len(text) // 2], "cut.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 3}, "schema is 3; expected 2; upgrade"),
        ({"rubost": 0.5}, "did you mean 'robust'"),
        ({"status": "doen"}, "did you mean 'done'"),
        ({"checkpoint": "abc"}, "64 hex digits"),
        ({"robust": 1.5}, r"'robust' is 1.5; expected a fraction"),
        ({"clean": None}, r"'clean' is None; expected a fraction"),
        ({"n": 13}, "n is 13; expected 1 to 12 images"),
        ({"status": "refused"}, "why the column was refused"),
        ({"deployment": {"solver": "picard"}}, "lacks tolerance, budget"),
        ({"flags": [{"name": "unconverget", "detail": ""}]}, "did you mean 'unconverged'"),
    ],
)
def test_a_field_that_breaks_the_schema_is_refused_by_name(record, fields, message):
    with pytest.raises(StoreError, match=message):
        Record.from_json(edited(record, **fields))


def test_a_figure_that_is_not_finite_is_never_written(record):
    with pytest.raises(SpecError, match="finite"):
        replace(record, cost={"forward": float("nan")}).to_json()
