"""However a run ends: what is finished stays, and the same command finishes the rest, bitwise."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import ENTRANTS, TINY, is_sentence, prepare, run, samples, stamps

from robustdeq.results.store.result_store import ResultStore
from robustdeq.training import central
from robustdeq.training.step import optimise

PAUSE = """
import os
import time
from collections.abc import Sequence
from pathlib import Path

def pause(mark):
    folder = Path(os.environ["ROBUSTDEQ_PAUSE"])
    if (folder / "pause").exists():
        (folder / f"{mark}.new").write_text(str(os.getpid()))
        (folder / f"{mark}.new").rename(folder / mark)
        time.sleep(600)
"""

HESITANT_ATTACK = f"""{PAUSE}
from dataclasses import dataclass
from robustdeq.attacks.base import Attack
from robustdeq.attacks.pgd import PGD

@dataclass(frozen=True)
class HesitantAttack(Attack):
    def run(self, search):
        pause("column")
        PGD(steps=2).run(search)
"""

HESITANT_TRAINING = f"""{PAUSE}
from dataclasses import dataclass
from typing import ClassVar
import torch
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class HesitantTraining(Wrapper):
    card: ClassVar[Card] = Card(title="Hesitant", citation="by hand")

    def craft(self, target, batch, noise, memory):
        memory["calls"] = memory.get("calls", torch.zeros(())) + 1
        if memory["calls"] == 30:  # in the second epoch
            pause("training")
        return batch.threat.random_start(batch.x, batch.rows, noise.stream)
"""

HESITANT_ENTRANTS = """
[[entrants]]
defense = "hesitant-training/explicit"
recipe = { epochs = 2, validate_every = 1 }

[[entrants]]
defense = "explicit"
recipe = { epochs = 1 }
"""


def hesitant(folder: Path) -> list[str]:
    """Write a run that pauses in a training and in a second column; returns its plug-ins."""
    column = '[[columns]]\nname = "own"\nseeds = [0]\nstages = [{ attack = "hesitant-attack" }]\n'
    before, _, _ = TINY.partition('[[columns]]\nname = "square-5"')
    prepare(folder, before + column, HESITANT_ENTRANTS)
    (folder / "hesitant_attack.py").write_text(HESITANT_ATTACK)
    (folder / "hesitant_training.py").write_text(HESITANT_TRAINING)
    files = [folder / "hesitant_attack.py", folder / "hesitant_training.py"]
    return [argument for file in files for argument in ("--plugin", str(file))]


BOTH = ("training", "column")  # what pauses where one worker trains and the other attacks


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTDEQ_PAUSE", str(folder))
        assert run(folder, *hesitant(folder)).code == 0
    return folder


def started(
    folder: Path, plugins: list[str], workers: int = 2, marks: tuple[str, ...] = BOTH
) -> subprocess.Popen:
    """A run in a process group of its own, once its workers have left these marks and pause."""
    (folder / "pause").touch()
    process = begun(folder, plugins, workers)
    while not all((folder / mark).exists() for mark in marks):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def begun(folder: Path, plugins: Sequence[str] = (), workers: int = 2) -> subprocess.Popen:
    """A run in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "robustdeq", "run", folder / "tiny.toml", "--entrant",
            folder / "entrants.toml", "--results", folder / "runs", "--workers", str(workers),
            *plugins,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=_hear_interrupts,
    )  # fmt: skip


def _hear_interrupts():
    """A process that a script put in the background is born deaf to them, and so are its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


GOES_ON = "robustdeq: interrupted; the same command goes on from here"
ENDS = [
    pytest.param(
        lambda pid, folder: os.killpg(pid, signal.SIGINT), 130, GOES_ON, id="Ctrl-C",
    ),
    pytest.param(
        lambda pid, folder: os.kill(pid, signal.SIGKILL), -9, "", id="kill -9 of the parent",
    ),
    pytest.param(
        lambda pid, folder: os.kill(pid, signal.SIGINT), 130, GOES_ON,
        id="an interrupt of the parent alone", marks=pytest.mark.slow,
    ),
]  # fmt: skip


def test_two_workers_give_the_sample_tables_of_one(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTDEQ_PAUSE", str(tmp_path))
    assert run(tmp_path, *hesitant(tmp_path), workers=2).code == 0
    assert samples(tmp_path / "runs") == samples(uninterrupted / "runs")


@pytest.mark.parametrize(("end", "code", "said"), ENDS)
def test_an_ended_run_keeps_what_is_finished_and_goes_on_bitwise(
    uninterrupted, tmp_path, monkeypatch, end, code, said
):  # fmt: skip
    monkeypatch.setenv("ROBUSTDEQ_PAUSE", str(tmp_path))
    plugins = hesitant(tmp_path)
    process = started(tmp_path, plugins)
    end(process.pid, tmp_path)
    out, _ = process.communicate()  # returns when the last process that could write has died
    assert process.returncode == code
    assert said in out
    assert "Traceback" not in out

    kept = stamps(tmp_path / "runs/records") | stamps(tmp_path / "runs/checkpoints")
    assert len([name for name in kept if name.endswith(".parquet")]) == 1
    assert len([name for name in kept if name.endswith(".safetensors")]) == 1
    assert len(list(tmp_path.glob("runs/entrants/*/unfinished.safetensors"))) == 1
    for path in tmp_path.glob("runs/*/*.json"):
        json.loads(path.read_text())

    (tmp_path / "pause").unlink()
    assert run(tmp_path, *plugins).code == 0
    after = stamps(tmp_path / "runs/records") | stamps(tmp_path / "runs/checkpoints")
    assert {name: after[name] for name in kept} == kept
    assert samples(tmp_path / "runs") == samples(uninterrupted / "runs")
    assert list((tmp_path / "runs").rglob("unfinished.safetensors")) == []


@pytest.mark.slow
def test_what_a_killed_worker_was_at_is_done_once_more(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTDEQ_PAUSE", str(tmp_path))
    process = started(tmp_path, hesitant(tmp_path))
    (tmp_path / "pause").unlink()
    os.kill(int((tmp_path / "column").read_text()), signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert samples(tmp_path / "runs") == samples(uninterrupted / "runs")


KILLED = "robustdeq: a worker process was killed, for lack of memory perhaps; what finished is"
LONG = TINY.replace("queries = 5", "queries = 800")
ONE = ENTRANTS.partition("\n\n")[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="workers are told apart by their clocks")
def test_a_killed_worker_in_a_shipped_trial_is_told_and_the_same_command_goes_on(tmp_path):
    """Since guests have processes of their own, no test killed one of the others."""
    folder = prepare(tmp_path / "killed", LONG, ONE)
    process = begun(folder)
    while not list(folder.glob("runs/records/*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    kept = stamps(folder / "runs/records") | stamps(folder / "runs/checkpoints")
    os.kill(busiest(process.pid), signal.SIGKILL)
    out, _ = process.communicate()  # returns when the last process that could write has died
    assert process.returncode == 3, out
    assert KILLED in out
    assert "Traceback" not in out
    assert len(list(folder.glob("runs/unfinished/*.json"))) == 1
    assert stamps(folder / "runs/records") | stamps(folder / "runs/checkpoints") == kept

    assert run(folder).code == 0
    after = stamps(folder / "runs/records") | stamps(folder / "runs/checkpoints")
    assert {name: after[name] for name in kept} == kept
    whole = prepare(tmp_path / "whole", LONG, ONE)
    assert run(whole).code == 0
    assert samples(folder / "runs") == samples(whole / "runs")


def busiest(parent: int) -> int:
    """The child that computes, and does not wait."""

    def clocks():
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        stats = {int(pid): Path(f"/proc/{pid}/stat").read_text().split() for pid in children}
        return {pid: int(stat[13]) for pid, stat in stats.items()}  # ticks in user mode

    before = clocks()
    time.sleep(0.3)
    after = clocks()
    return max(before, key=lambda pid: after.get(pid, 0) - before[pid])


def test_an_interrupt_with_one_worker_keeps_what_is_finished(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTDEQ_PAUSE", str(tmp_path))
    process = started(tmp_path, hesitant(tmp_path), workers=1, marks=("training",))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert GOES_ON in out
    assert "Traceback" not in out
    assert len(list(tmp_path.glob("runs/entrants/*/unfinished.safetensors"))) == 1


def test_an_interrupt_without_workers_keeps_what_is_finished(tmp_path, monkeypatch):
    prepare(tmp_path, entrants=ENTRANT.replace("epochs = 1", "epochs = 2, validate_every = 1"))
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 30:  # in the second epoch
            signal.raise_signal(signal.SIGINT)
        return optimise(*arguments)

    monkeypatch.setattr(central, "optimise", interrupted)
    answer = run(tmp_path)
    assert answer.code == 130
    assert is_sentence(answer.err)
    assert len(list(tmp_path.glob("runs/entrants/*/unfinished.safetensors"))) == 1


ENTRANT = '[[entrants]]\ndefense = "explicit"\nrecipe = { epochs = 1 }\n'
FORGETFUL = """
from dataclasses import dataclass
from pathlib import Path
from robustdeq.attacks.base import Attack

@dataclass(frozen=True)
class Forgetful(Attack):
    def run(self, search):
        if Path(__file__).with_name("fails").exists():
            raise OSError("not yet")
        search.put_forward(search.samples.images)
"""


def test_a_trial_that_is_tried_again_keeps_the_salt_that_was_drawn_for_it(tmp_path):
    column = '[[columns]]\nname = "own"\nseeds = [0]\nstages = [{ attack = "forgetful" }]\n'
    before, _, _ = TINY.partition("[[columns]]")
    prepare(tmp_path, before + column, ENTRANT)
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    (tmp_path / "fails").touch()
    assert run(tmp_path, "--plugin", tmp_path / "forgetful.py").code == 3
    (draft,) = (tmp_path / "runs").glob("**/unfinished/*.json")
    salt = json.loads(draft.read_text())["salt"]
    (tmp_path / "fails").unlink()
    assert run(tmp_path, "--plugin", tmp_path / "forgetful.py").code == 0
    (record,) = ResultStore(tmp_path / "runs").scan()
    assert record.salt == salt
    assert not draft.exists()
