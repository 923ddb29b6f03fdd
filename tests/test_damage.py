"""What is damaged in a store is named, and made again by the same command once it is deleted."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import TINY, is_sentence, prepare, robustdeq, run, samples, stamps

from robustdeq.defenses.base import Task
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.errors import StoreError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import load_entries
from robustdeq.results.store import protocols as stored_protocols
from robustdeq.results.store.result_store import ResultStore
from robustdeq.training.central import build
from robustdeq.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of two entrants against two columns."""
    folder = prepare(tmp_path_factory.mktemp("made"))
    assert run(folder).code == 0
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the finished run, to be spoilt."""
    return shutil.copytree(made, tmp_path / "copy")


def spoilt(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-20])
    return path


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def test_a_damaged_record_is_named_before_any_work_and_made_again_once_deleted(folder):
    whole = samples(folder / "runs")
    path = spoilt(first(folder / "runs", "records/*-0.parquet"))
    before = stamps(folder / "runs")
    for answer in (run(folder, "--again"), robustdeq("board", "--results", folder / "runs")):
        assert answer.refuses(str(path), "run again the command that made it")
    assert stamps(folder / "runs") == before
    path.unlink()
    assert run(folder).code == 0
    assert samples(folder / "runs") == whole


def test_what_a_killed_append_leaves_is_no_record_and_is_replaced(folder):
    whole = samples(folder / "runs")
    record = first(folder / "runs", "records/*.parquet")
    content = record.read_bytes()
    record.unlink()
    record.with_name(f".{record.name}.1234.tmp").write_bytes(content[:100])
    record.touch()  # the claim to the name, where there are no hard links
    os.utime(record, (0, 0))
    assert robustdeq("board", "--results", folder / "runs").code == 0
    assert run(folder).code == 0
    assert samples(folder / "runs") == whole


def test_the_loser_of_a_race_leaves_the_winners_record_and_goes_on(folder, monkeypatch):
    whole = samples(folder / "runs")
    taken, gone = sorted(folder.glob("runs/records/*.parquet"))[:2]
    winner = taken.read_bytes()
    taken.unlink()
    gone.unlink()
    append = ResultStore.append

    def late(store, record, tables):
        if record.stem == taken.stem:
            taken.write_bytes(winner)
        return append(store, record, tables)

    monkeypatch.setattr(ResultStore, "append", late)
    answer = run(folder)
    assert answer.code == 0
    assert "another run has stored it meanwhile" in answer.err
    assert taken.read_bytes() == winner
    assert samples(folder / "runs") == whole


def test_the_loser_of_a_race_for_one_more_run_takes_the_next_number(folder, monkeypatch):
    append = ResultStore.append

    def late(store, record, tables):
        if record.run == 1:
            monkeypatch.setattr(ResultStore, "append", append)
            append(store, record, tables)
        return append(store, record, tables)

    monkeypatch.setattr(ResultStore, "append", late)
    before = len(samples(folder / "runs"))
    assert run(folder, "--again").code == 0
    assert len(samples(folder / "runs")) == 2 * before + 1


def test_another_protocol_of_the_same_name_is_refused(folder):
    before = stamps(folder / "runs")
    prepare(folder, TINY.replace("steps = 2", "steps = 3"))
    assert run(folder).refuses("holds another protocol 'tiny'", "give the new one a new name")
    assert stamps(folder / "runs") == before


def test_two_runs_may_store_the_same_protocol_at_once(folder, tmp_path, monkeypatch):
    """A process that finds no protocol, and one by the time it writes, goes on with that one."""
    resolved = json.loads((folder / "runs/protocols/tiny.json").read_text())
    del resolved["schema"]
    mine, theirs = ResultStore(tmp_path), ResultStore(tmp_path)
    write_once = stored_protocols.write_once

    def late(path: Path, content: bytes) -> None:
        monkeypatch.setattr(stored_protocols, "write_once", write_once)
        theirs.write_protocol("tiny", their)
        write_once(path, content)

    their = {**resolved, "training_seeds": [0, 1]}
    monkeypatch.setattr(stored_protocols, "write_once", late)
    with pytest.raises(StoreError, match="holds another protocol"):
        mine.write_protocol("tiny", resolved)
    shutil.rmtree(tmp_path / "protocols")
    their = resolved
    monkeypatch.setattr(stored_protocols, "write_once", late)
    assert mine.protocol(mine.write_protocol("tiny", resolved).stem) == theirs.protocol("tiny")


def entrant_of(folder: Path) -> Entrant:
    """The first entrant, as the run trained it."""
    protocol = load_protocol(str(folder / "tiny.toml"))
    entry = load_entries(str(folder / "entrants.toml"))[0]
    return protocol.lineup([entry.entrant], protocol.load_data())[0]


def truncate(folder: Path, weights: Path) -> None:
    spoilt(weights)


def flip(folder: Path, weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def pickle(folder: Path, weights: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, weights)


def replace(folder: Path, weights: Path, width: int, value: float) -> None:
    """Other weights, and their digest where that of the right ones was recorded."""
    model = build(Entrant(Explicit(channels=width)), Task((1, 8, 8), 10))
    next(model.parameters()).data.fill_(value)
    digest = save_checkpoint(weights, model)
    entry = folder / "runs/entrants" / weights.stem / "entrant.json"
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "checkpoint": digest}))


DAMAGE: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "truncated": (truncate, "has digest"),
    "one bit flipped": (flip, "has digest"),
    "a pickle": (pickle, "is a pickle, which can run code when it is read"),
    "another architecture": (lambda f, w: replace(f, w, 16, 0.0), "another architecture"),
    "NaN": (lambda f, w: replace(f, w, 24, torch.nan), "values that are not finite"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_weights_are_named_and_trained_again_once_deleted(folder, damage, said):
    weights = folder / "runs/checkpoints" / f"{entrant_of(folder).id}.safetensors"
    whole, right = samples(folder / "runs"), weights.read_bytes()
    damage(folder, weights)
    answer = run(folder, "--again")
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert f"train explicit failed: {weights}" in answer.err
    assert said in answer.err
    assert len(samples(folder / "runs")) == len(whole) + 2  # those of the other entrant
    weights.unlink()
    assert run(folder, "--again").code == 0
    assert weights.read_bytes() == right
    again = samples(folder / "runs")
    assert again.keys() > whole.keys()
    assert all(again[stem] == whole[f"{stem.rpartition('-')[0]}-0"] for stem in again)


@pytest.mark.parametrize("text", ["", "[]", '{"checkpoint": '])
def test_a_damaged_entry_of_an_entrant_is_named_and_made_again_once_deleted(folder, text):
    entry = folder / "runs/entrants" / entrant_of(folder).id / "entrant.json"
    before = stamps(folder / "runs/records")
    entry.write_text(text)
    answer = run(folder)
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert f"{entry} is damaged" in answer.err
    entry.unlink()
    assert run(folder).code == 0
    assert stamps(folder / "runs/records") == before


def test_a_damaged_unfinished_training_is_named_and_started_again_once_deleted(folder):
    whole = samples(folder / "runs")
    shutil.rmtree(folder / "runs/records")
    state = folder / "runs/entrants" / entrant_of(folder).id / "unfinished.safetensors"
    state.with_name("entrant.json").rename(state)
    answer = run(folder)
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert f"{state} cannot be continued" in answer.err
    assert len(samples(folder / "runs")) == 2
    state.unlink()
    assert run(folder).code == 0
    assert samples(folder / "runs") == whole
