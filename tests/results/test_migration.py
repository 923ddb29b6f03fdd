"""A store of schema 1 is brought over once, with every figure as it was."""

import json
import shutil
from pathlib import Path

import pytest

from robustdeq.results.formats.publish import check_boards
from robustdeq.results.store.files import listed
from robustdeq.results.store.identity import entrant_id
from robustdeq.results.store.migration import migrate, slices
from robustdeq.results.store.result_store import ResultStore

from .examples import DIGEST, add, spec, survivors

GOLDEN = Path(__file__).parent / "records_v1"
TRAINED_ON = {DIGEST: "ab" * 32}
VANILLA = {"defense": spec("vanilla"), "recipe": {"name": "central"}}


@pytest.fixture
def old(tmp_path):
    """The golden store of schema 1, with an entrant, its weights and a retraction."""
    root = shutil.copytree(GOLDEN, tmp_path / "runs")
    record = next(r for r in ResultStore(root).scan() if r.entrant["chain"] == "vanilla")
    name = entrant_id(VANILLA)
    (root / "entrants" / name).mkdir(parents=True)
    facts = {"entrant": VANILLA, "checkpoint": record.checkpoint}
    (root / "entrants" / name / "entrant.json").write_text(json.dumps(facts))
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / f"{name}.safetensors").write_bytes(b"weights")
    return root


def test_every_board_is_the_same_byte_for_byte_and_every_table(old):
    before = ResultStore(old).scan()
    tables = [ResultStore(old).table(r, "samples") for r in before if r.status == "done"]
    assert slices(old) == {DIGEST: "digits"}
    assert migrate(old, TRAINED_ON).records == len(before) == 8
    assert check_boards(old) == []
    after = {json.dumps([r.column, r.entrant["defense"]]): r for r in ResultStore(old).scan()}
    for record, table in zip((r for r in before if r.status == "done"), tables, strict=True):
        moved = after[json.dumps([record.column, record.entrant["defense"]])]
        assert moved.trial != record.trial
        assert moved.entrant == {**record.entrant, "data": "ab" * 32}
        assert ResultStore(old).table(moved, "samples").equals(table)


def test_nothing_of_schema_1_is_left_and_another_migration_does_nothing(old):
    migrate(old, TRAINED_ON)
    assert len(list((old / "records").iterdir())) == 8
    assert listed(old / "records", ".json") == []
    assert migrate(old, {}).records == 0
    add(ResultStore(old), "lyadeq", survivors(3))


def test_weights_and_folders_get_the_names_of_entrants_on_this_data(old):
    assert migrate(old, TRAINED_ON).entrants == 1
    name = entrant_id({**VANILLA, "data": "ab" * 32})
    facts = json.loads((old / "entrants" / name / "entrant.json").read_text())
    assert facts["entrant"] == {**VANILLA, "data": "ab" * 32}
    assert [path.name for path in (old / "entrants").iterdir()] == [name]
    assert (old / "checkpoints" / f"{name}.safetensors").read_bytes() == b"weights"


def test_retractions_follow_their_records(old):
    first, second = ResultStore(old).scan()[:2]
    text = {"schema": 1, "stem": first.stem, "reason": "by hand", "replaced_by": second.stem}
    (old / "retractions").mkdir()
    (old / "retractions" / f"{first.stem}.json").write_text(json.dumps(text))
    assert migrate(old, TRAINED_ON).retractions == 1
    store = ResultStore(old)
    ((withdrawn, retraction),) = store.withdrawn()
    assert (withdrawn.column, withdrawn.checkpoint) == (first.column, first.checkpoint)
    assert retraction.replaced_by in {record.stem for record in store.scan()}


def test_an_interrupted_migration_goes_on(old, monkeypatch):
    whole = shutil.copytree(old, old.parent / "whole")
    migrate(whole, TRAINED_ON)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(old, TRAINED_ON)
    migrate(old, TRAINED_ON)
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.parquet")}
        for root in (old, whole)
    ]
    assert files[0] == files[1]
    assert check_boards(old) == []
