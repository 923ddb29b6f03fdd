"""A plug-in cannot end the run: it is told in a sentence with its file, and the others go on."""

import signal

import pytest
from commands import ENTRANTS, TINY, is_sentence, prepare, robustdeq, run

from robustdeq.errors import PluginEnded, by_user
from robustdeq.registry import load_file

ATTACK = """
import sys
from dataclasses import dataclass
from robustdeq.attacks.base import Attack

{top}

@dataclass(frozen=True)
class Planted(Attack):
    def __post_init__(self):
        {made}

    def run(self, search):
        {body}
        search.put_forward(search.samples.images)
"""

DEFENSE = """
import sys
from dataclasses import dataclass
from typing import ClassVar
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card(title="Planted", citation="by hand")
    stage: ClassVar[str] = "{stage}"

    def {hook}(self, target, *arguments):
        {body}
"""

ENDS = [
    "sys.exit(0)", "sys.exit()", "raise KeyboardInterrupt", "raise GeneratorExit", "exit(0)",
    "__import__('os')._exit(0)", "__import__('posix')._exit(0)",
]  # fmt: skip


def attack(folder, top="pass", made="pass", body="pass"):
    """Write an attack, and a protocol whose first column is by it."""
    (folder / "planted.py").write_text(ATTACK.format(top=top, made=made, body=body))
    column = '[[columns]]\nname = "own"\nseeds = [0]\nstages = [{ attack = "planted" }]\n'
    prepare(folder, TINY.replace("[[columns]]", f"{column}\n[[columns]]", 1))
    return folder / "planted.py"


def records(folder):
    return list((folder / "runs/records").glob("*.parquet"))


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise KeyboardInterrupt"])
def test_an_attack_that_ends_the_program_is_told_and_the_other_columns_are_stored(tmp_path, end):
    answer = run(tmp_path, "--plugin", attack(tmp_path, body=end))
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert "planted.py, line 14; a plug-in does not end the program" in answer.err
    assert len(records(tmp_path)) == 4
    assert (tmp_path / "runs/boards/tiny.md").read_text() in answer.out


@pytest.mark.parametrize("end", ENDS)
def test_a_plug_in_that_ends_the_program_when_imported_is_told(tmp_path, end):
    answer = run(tmp_path, "--plugin", attack(tmp_path, top=end))
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert "planted.py cannot be imported" in answer.err
    assert not records(tmp_path)


@pytest.mark.parametrize("end", ["sys.exit(0)", "__import__('os')._exit(0)"])
def test_a_plug_in_that_ends_the_program_when_made_is_told(tmp_path, end):
    answer = run(tmp_path, "--plugin", attack(tmp_path, made=end))
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert "planted.py, line 11" in answer.err


@pytest.mark.parametrize(
    ("hook", "stage", "workers"),
    [("craft", "training", 1), ("build", "training", 1), ("calibrate", "inference", 1),
     ("infer", "inference", 2)],
)  # fmt: skip
def test_a_hook_that_ends_the_program_is_told_and_the_other_entrants_are_stored(
    tmp_path, hook, stage, workers
):
    text = DEFENSE.format(hook=hook, stage=stage, body="sys.exit(0)")
    (tmp_path / "planted.py").write_text(text)
    first = '[[entrants]]\ndefense = "planted/explicit"\nrecipe = { epochs = 1 }\n'
    prepare(tmp_path, entrants=f"{first}{ENTRANTS}")
    answer = run(tmp_path, "--plugin", tmp_path / "planted.py", workers=workers)
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert "planted.py, line 13" in answer.err
    assert len(records(tmp_path)) == 4


@pytest.mark.parametrize("end", ["sys.exit(0)", "__import__('os')._exit(0)"])
def test_check_calls_it_a_broken_promise(tmp_path, end):
    text = DEFENSE.format(hook="infer", stage="inference", body=end)
    (tmp_path / "planted.py").write_text(text)
    answer = robustdeq("check", tmp_path / "planted.py")
    assert answer.code == 2
    assert f"SystemExit: 0; expected an answer: mend {tmp_path / 'planted.py'}" in answer.out


def test_in_a_notebook_an_interrupt_is_the_users(monkeypatch):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert by_user(KeyboardInterrupt())
    assert not by_user(SystemExit(0))


def test_loading_a_file_that_ends_the_program_forgets_it(tmp_path):
    path = attack(tmp_path, top="sys.exit('enough')")
    for _ in range(2):
        with pytest.raises(PluginEnded, match=r"SystemExit\('enough'\) was raised in .*planted.py"):
            load_file(path)
