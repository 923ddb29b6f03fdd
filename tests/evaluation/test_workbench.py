"""The bench of a results folder: the notebook and the command line run trials on the same one."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from robustdeq.attacks.pgd import PGD
from robustdeq.audits.battery import Report
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import CheckpointError
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.trial import Trial
from robustdeq.registry import find, names
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.surrogates.transfer import Transfer
from robustdeq.testing.toys import toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.trained import ensure_trained
from robustdeq.workbench import run_trial, trained_bench

DATA, CPU = toy_data(train=32, held_out=8, test=8), torch.device("cpu")
LINF = Linf(Fraction(1, 8))
ENTRANT = Entrant(Explicit(channels=8), Recipe(LINF, epochs=1)).trained_on(DATA.training_digest())
SOURCE = replace(ENTRANT, seed=100)


def trial(column):
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": len(DATA.test)}
    return Trial(ENTRANT, column, data, LINF)


TRANSFER = Column("transfer", (Stage(PGD(steps=2), Transfer()),), (0,), sources=(SOURCE,))


def test_a_column_transfers_from_a_source_that_lies_there(tmp_path):
    """`evaluate(..., "transfer")` said to train the source first, wherever it lay."""
    store = ResultStore(tmp_path)
    with pytest.raises(CheckpointError, match="explicit seed 0 is not trained in"):
        trained_bench(store, trial(TRANSFER), DATA, CPU)
    ensure_trained(store, ENTRANT, DATA, CPU)
    bench = trained_bench(store, trial(TRANSFER), DATA, CPU)
    with pytest.raises(CheckpointError, match="transfers from explicit seed 100, which is not"):
        run_trial(trial(TRANSFER), bench, DATA)
    made = ensure_trained(store, SOURCE, DATA, CPU)
    record, _ = run_trial(trial(TRANSFER), bench, DATA)
    assert record.status == "done"
    assert [source["checkpoint"] for source in record.sources] == [made.checkpoint]


def test_a_column_of_audits_is_audited(tmp_path, monkeypatch):
    """It was evaluated like any other, without a stage, and clean accuracy passed for robust."""
    store = ResultStore(tmp_path)
    ensure_trained(store, ENTRANT, DATA, CPU)
    column = Column("audit", (), (0,), goal="audit")
    bench = trained_bench(store, trial(column), DATA, CPU)

    def audited(*arguments):
        raise LookupError("audited")

    monkeypatch.setattr("robustdeq.audits.trial.audit", audited)
    with pytest.raises(LookupError, match="audited"):
        run_trial(trial(column), bench, DATA)


def test_a_record_of_an_audit_names_each_audit_and_its_version(tmp_path, monkeypatch):
    """A battery that had grown by an audit could not be told from the one before it."""
    store = ResultStore(tmp_path)
    ensure_trained(store, ENTRANT, DATA, CPU)
    audited = trial(Column("audit", (), (0,), goal="audit"))
    bench, empty = trained_bench(store, audited, DATA, CPU), Report(8, 1.0, 1.0, ())
    monkeypatch.setattr("robustdeq.audits.trial.examine", lambda *arguments, **options: empty)
    record, _ = run_trial(audited, bench, DATA)
    listed = {audit["name"]: audit["version"] for audit in record.provenance["audits"]}
    assert listed == {name: find("audits", name).version for name in names("audits")}
    assert Record.from_json(record.to_json()) == record
