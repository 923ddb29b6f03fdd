"""How far things are is shown where it can be read: bars on a terminal, few lines in a file."""

import multiprocessing
import os
import pickle
import pty
import subprocess
import sys

import pytest
from commands import prepare

from robustdeq.cli.display import Bars, Lines, chosen_display
from robustdeq.progress import PLAIN

LEAVES = """
import sys
from dataclasses import dataclass
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Leaves(Wrapper):
    card = Card("Leaves", "none")

    def outputs(self, target, x, noise):
        sys.exit(0)
"""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class TestLines:
    def test_a_task_has_a_line_in_thirty_seconds_and_tells_its_last_note(self, capsys):
        clock = Clock()
        with Lines(clock=clock).task("train vanilla", "step") as tell:
            for second in range(0, 100, 5):
                clock.now = second
                tell(second, 100, "epoch 1" if second == 10 else "")
        assert capsys.readouterr().err.splitlines() == [
            f"  train vanilla: step {second} of 100, epoch 1" for second in (30, 60, 90)
        ]

    def test_tasks_have_lines_of_their_own(self, capsys):
        clock = Clock()
        lines = Lines(clock=clock)
        with lines.task("a", "image") as first, lines.task("b", "image") as second:
            clock.now = 31
            for tell in (first, second, first, second):
                tell(1, 2)
        assert capsys.readouterr().err.splitlines() == ["  a: image 1 of 2", "  b: image 1 of 2"]


class TestBars:
    def test_a_bar_begins_where_an_interrupted_task_stopped(self, capsys):
        with Bars().task("train vanilla", "step") as tell:
            tell(40, 100)
            tell(100, 100, "epoch 5")
        drawn = capsys.readouterr().err
        assert " 40/100 " in drawn
        assert "train vanilla" in drawn

    def test_a_task_that_tells_nothing_draws_nothing(self, capsys):
        with Bars().task("train vanilla", "step"):
            pass
        assert capsys.readouterr().err == ""

    def test_a_process_draws_on_its_own_line(self, monkeypatch, capsys):
        monkeypatch.setenv("ROBUSTDEQ_LINE", "0")
        Bars().enter(multiprocessing.RLock(), 2)
        with Bars().task("attack", "image") as tell:
            tell(1, 2)
        assert capsys.readouterr().err.startswith("\n\n\r")


@pytest.mark.parametrize("display", [PLAIN, Bars(), Lines()], ids=lambda each: type(each).__name__)
def test_a_display_reaches_worker_processes(display):
    assert pickle.loads(pickle.dumps(display)) == display


def test_quiet_shows_results_alone(capsys):
    display = chosen_display(quiet=True)
    with display.task("train", "step") as tell:
        tell(1, 2)
    display.say("a result")
    assert capsys.readouterr().err == "a result\n"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    prepare(folder)
    command = [
        sys.executable, "-m", "robustdeq", "run", "tiny.toml", "--entrant", "entrants.toml",
    ]  # fmt: skip
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False, timeout=300)
    assert done.returncode == 0
    return (folder / "log.txt").read_bytes()


class TestInAFile:
    """A run whose output goes to a file: nothing is drawn anew, and the board is the end."""

    def test_it_has_no_carriage_return_and_no_escape(self, log):
        assert b"\r" not in log
        assert b"\x1b" not in log

    def test_results_come_first_and_where_they_lie_at_last(self, log):
        lines = log.decode().splitlines()
        assert sum("% robust of" in line for line in lines) == 4
        assert lines[-1].startswith("Records: ")

    def test_what_failed_is_the_last_line(self, tmp_path):
        prepare(tmp_path)
        (tmp_path / "leaves.py").write_text(LEAVES)
        command = [sys.executable, "-m", "robustdeq", "run", "tiny.toml", "--plugin", "leaves.py"]
        with (tmp_path / "log.txt").open("wb") as log:
            done = subprocess.run(
                command, cwd=tmp_path, stdout=log, stderr=log, check=False, timeout=300
            )
        assert done.returncode == 3
        lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
        assert lines[-1].startswith("robustdeq: ")
        assert any(line.startswith("Records: ") for line in lines[:-1])


def test_a_terminal_has_bars():
    """`isatty` is asked of the stream that bars are drawn on."""
    code = "from robustdeq.cli.display import chosen_display; print(type(chosen_display(False)))"
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, text=True
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Bars" in done.stdout
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Lines" in done.stdout
