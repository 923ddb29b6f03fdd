"""Bad input ends in a sentence that says what to do, with exit code 2, and nothing is written."""

import errno
import os

import pytest
import torch
from commands import ENTRANTS, TINY, is_sentence, prepare, robustdeq, run

from robustdeq.evaluation.protocol import load_protocol

PLAIN_ATTACK = """
from dataclasses import dataclass
from robustdeq.attacks.base import Attack

@dataclass(frozen=True)
class Planted(Attack):
    def run(self, search):
        {body}
"""

FAILING_DEFENSE = """
from dataclasses import dataclass
from typing import ClassVar
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card(title="Planted", citation="by hand")

    def craft(self, target, batch, noise, memory):
        raise OSError("the noise file is gone")
"""

DIGEST = load_protocol("digits-linf-v1").digest


PROTOCOLS = {
    "no TOML": ("seeds = [0]", "seeds = [0", "not TOML"),
    "unknown key": ("note", "notes", "unknown key 'notes'; did you mean 'note'?"),
    "unknown key of a column": ("images = 20", "image = 20", "did you mean 'images'?"),
    "unknown key of an attack": ("steps = 2", "step_count = 2", "columns[0].stages[0].attack"),
    "unknown attack": ('"pgd"', '"pdg"', "unknown attack 'pdg'; did you mean 'pgd'?"),
    "unknown data": ('"digits"', '"digit"', "unknown data 'digit'; did you mean 'digits'?"),
    "unknown threat": ('"linf"', '"l_inf"', "unknown threat 'l_inf'; did you mean 'linf'?"),
    "missing key": ("seeds = [0]\n", "", "key 'seeds' is missing"),
    "radius 0": ('"3/16"', '"0"', "radius 0 is not positive"),
    "negative radius": ('"3/16"', '"-3/16"', "radius -3/16 is not positive"),
    "radius as a float": ('"3/16"', "0.1875", 'not a fraction written as text, like "8/255"'),
    "radius over 0": ('"3/16"', '"3/0"', "'3/0' is not a fraction"),
    "no radius": (', eps = "3/16"', "", "threat: key 'eps' is missing"),
    "another digest": (DIGEST, "0" * 64, f"the test images have digest {DIGEST}"),
    "no images": ("images = 20", "images = 0", "images 0; expected at least 1"),
    "too many images": ("images = 20", "images = 501", "images 501, but there are 500"),
    "one column twice": ("square-5", "pgd-2", "each with its own name"),
    "one attack seed twice": ("[0, 1]", "[1, 1]", "no seed twice"),
    "no training seed": ("note", "training_seeds = []\nnote", "training_seeds ()"),
    "a name that is a path": ('"tiny"', '"../tiny"', "name '../tiny'; expected letters"),
    "no steps": ("steps = 2", "steps = 0", "steps"),
}


@pytest.mark.parametrize(("good", "bad", "said"), PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_wrong_protocol_is_refused_with_its_file_and_the_place(tmp_path, good, bad, said):
    text = f'note = "a check"{TINY}'
    assert good in text
    prepare(tmp_path, text.replace(good, bad, 1))
    answer = run(tmp_path)
    assert answer.refuses(said), answer.err
    assert "tiny" in answer.err
    assert not (tmp_path / "runs").exists()


ROSTERS = {
    "unknown key": ("epochs", "epoch", "recipe: unknown key 'epoch'; did you mean 'epochs'?"),
    "no epochs": ("epochs = 1", "epochs = 0", "epochs 0; expected at least 1"),
    "text for a number": ("epochs = 1", 'epochs = "1"', "'1' is not an integer"),
    "unknown defense": ('"explicit"', '"explict"', "did you mean 'explicit'?"),
    "a wrapper alone": ('"explicit"', '"trades"', "'trades' wraps a base; write trades/vanilla"),
    "a wrapped network": ('"explicit"', '"explicit/vanilla"', "wraps nothing; drop '/vanilla'"),
    "around itself": ('"explicit"', '"trades/trades/vanilla"', "wraps 'trades' around itself"),
    "a seed": ("[[entrants]]", "[[entrants]]\nseed = 3", "seed 3; leave it out"),
    "nobody": (ENTRANTS, "entrants = []", "write at least one [[entrants]] table"),
}


@pytest.mark.parametrize(("good", "bad", "said"), ROSTERS.values(), ids=ROSTERS)
def test_a_wrong_roster_is_refused_with_its_file(tmp_path, good, bad, said):
    assert good in ENTRANTS
    prepare(tmp_path, entrants=ENTRANTS.replace(good, bad, 1))
    answer = run(tmp_path)
    assert answer.refuses("entrants.toml", said), answer.err
    assert not (tmp_path / "runs").exists()


def test_a_roster_and_a_protocol_in_each_others_place_are_named(tmp_path):
    protocol, roster = prepare(tmp_path) / "tiny.toml", tmp_path / "entrants.toml"
    run_it = (
        "is a protocol; expected a roster of [[entrants]] tables",
        f"`robustdeq run {protocol}`",
    )
    assert robustdeq("run", "--entrant", protocol).refuses(*run_it)
    assert robustdeq("check", protocol).refuses(*run_it)
    name_one = "is a roster of entrants; expected a protocol", f"run PROTOCOL --entrant {roster}`"
    assert robustdeq("run", roster).refuses(*name_one)


ARGUMENTS = {
    "protocol": ("run digits-linf-v11", "unknown protocol", "did you mean 'digits-linf-v1'?"),
    "protocol file": ("run gone.toml", "cannot read 'gone.toml'", "give the path of a TOML file"),
    "entrant": ("run --entrant tradse/vanilla", "unknown defense", "did you mean 'trades'?"),
    "wrapper alone": ("run --entrant trades", "wraps a base", "trades/vanilla"),
    "entrant file": ("run --entrant gone.toml", "cannot read 'gone.toml'", "a TOML file"),
    "threads": ("run --threads 0", "--threads 0", "at least 1"),
    "workers": ("run --workers -1", "--workers -1", "at least 1"),
    "cuda": ("run --device cuda", "'cuda' is not available here", "--device cpu"),
    "plug-in": ("run --plugin gone.py", "gone.py' is not a Python file", ".py file"),
    "protocol to train on": ("train --protocol digits", "unknown protocol", "did you mean"),
    "entrant to train": ("train vanila", "unknown defense", "did you mean 'vanilla'?"),
    "cuda to train on": ("train --device cuda", "'cuda' is not available", "--device cpu"),
}


@pytest.mark.parametrize(("command", "value", "next_step"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_wrong_argument_is_refused(tmp_path, monkeypatch, command, value, next_step):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert robustdeq(*command.split()).refuses(value, next_step)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--device", "gpu"], ["run", "--workers=x"]])
def test_a_malformed_command_line_is_a_user_error_with_the_usage(arguments):
    answer = robustdeq(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("usage: robustdeq")
    assert "invalid" in answer.err


PLUGINS = {
    "no .py": ("planted.txt", "", "give the path of a .py file"),
    "no name": ("my plug-in.py", "", "is no Python name"),
    "a syntax error": ("planted.py", "class Planted(:\n", "planted.py, line 1: invalid syntax"),
    "nothing in it": ("planted.py", "x = 1\n", "defines plug-ins of 0 kinds"),
    "two classes": (
        "planted.py",
        PLAIN_ATTACK.format(body="pass") + "\n\nclass Second(Planted):\n    pass\n",
        "defines 2 plug-ins of attacks; expected one per file",
    ),
    "a shipped name": (
        "pgd.py", PLAIN_ATTACK.format(body="pass"), "would hide the shipped 'pgd' of attacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "said"), PLUGINS.values(), ids=PLUGINS)
def test_a_file_that_is_no_plug_in_is_refused(tmp_path, monkeypatch, name, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    answer = robustdeq("run", "--plugin", name)
    assert answer.refuses(name.partition(".")[0], said), answer.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == [name]


FAILING_ATTACKS = {
    "an exception": ("raise OSError('no such list')", "OSError: no such list", True),
    "outside the threat set": (
        "search.put_forward(search.samples.images + 1)",
        "left the linf ball of radius 3/16",
        False,
    ),
}


@pytest.mark.parametrize(("body", "said", "traced"), FAILING_ATTACKS.values(), ids=FAILING_ATTACKS)
def test_a_failing_attack_is_told_and_the_other_columns_are_stored(
    tmp_path, capfd, body, said, traced
):  # fmt: skip
    (tmp_path / "planted.py").write_text(PLAIN_ATTACK.format(body=body))
    column = '[[columns]]\nname = "own"\nseeds = [0]\nstages = [{ attack = "planted" }]\n'
    prepare(tmp_path, TINY.replace("[[columns]]", f"{column}\n[[columns]]", 1))
    answer = run(tmp_path, "--plugin", tmp_path / "planted.py")
    assert answer.code == 3
    assert said in answer.err
    assert ("Traceback" in capfd.readouterr().err) == traced  # of the plug-in's own process
    last = answer.err.splitlines()[-1]
    assert last.startswith("robustdeq: explicit own failed (")
    assert last.endswith("and 1 more; the rest is stored, and the same command tries again")
    assert len(list((tmp_path / "runs/records").glob("*.parquet"))) == 4
    assert (tmp_path / "runs/boards/tiny.md").read_text() in answer.out


def test_a_failing_training_is_told_and_the_other_entrants_are_stored(tmp_path, capfd):
    (tmp_path / "planted.py").write_text(FAILING_DEFENSE)
    first = '[[entrants]]\ndefense = "planted/explicit"\n'
    prepare(tmp_path, entrants=f"{first}{ENTRANTS}")
    answer = run(tmp_path, "--plugin", tmp_path / "planted.py")
    assert answer.code == 3
    assert "Traceback" in capfd.readouterr().err  # of the plug-in's own process
    assert "train planted/explicit failed (OSError: the noise file is gone)" in answer.err
    assert len(list((tmp_path / "runs/records").glob("*.parquet"))) == 4


def test_a_results_folder_below_a_file_is_refused(tmp_path):
    prepare(tmp_path)
    (tmp_path / "runs").write_text("not a folder")
    answer = run(tmp_path)
    assert answer.refuses("cannot write tiny.json", str(tmp_path / "runs"), "--results")
    assert (tmp_path / "runs").read_text() == "not a folder"


@pytest.mark.parametrize("step", ["replace", "link"])
def test_a_full_disk_ends_the_run_and_the_same_command_goes_on(tmp_path, monkeypatch, step):
    def full(source, target):
        if "protocols" in str(target):
            return done(source, target)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    done = getattr(os, step)
    prepare(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        answer = run(tmp_path)
    assert answer.code == 2
    assert is_sentence(answer.err)
    assert "No space left on device; make the results folder writable, free space" in answer.err
    assert len(list((tmp_path / "runs/records").glob("*.parquet"))) == 0
    assert run(tmp_path).code == 0
    assert list((tmp_path / "runs").rglob("*.tmp")) == []
