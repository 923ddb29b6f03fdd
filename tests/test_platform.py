"""Consoles, scripts and systems that are not the one this was written on."""

import os
import signal
import subprocess
import sys

import pytest
from commands import TINY, prepare
from results.examples import add, protocol, survivors

from robustdeq.engines.workers import require_sendable, starting
from robustdeq.errors import SpecError
from robustdeq.results.store.result_store import ResultStore

COMMAND = """
import sys
from robustdeq.cli import main
sys.exit(main({arguments!r}))
"""


def script(folder, workers=2):
    """A script without a main guard that runs the tiny protocol."""
    prepare(folder)
    arguments = [
        "run", str(folder / "tiny.toml"), "--entrant", str(folder / "entrants.toml"),
        "--results", str(folder / "runs"), "--workers", str(workers), "--quiet",
    ]  # fmt: skip
    return COMMAND.format(arguments=arguments)


def python(*arguments, text=None, **variables):
    """A fresh interpreter, with environment variables of its own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], input=text, capture_output=True, encoding="utf-8",
        env={**os.environ, **variables},
    )  # fmt: skip


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_with_two_workers(tmp_path):
    # Every worker ran the script again, died of it, and "was killed, for lack of memory perhaps".
    (tmp_path / "mine.py").write_text(script(tmp_path))
    done = python(tmp_path / "mine.py")
    assert done.returncode == 0, done.stderr
    assert "Board:" in done.stdout


@pytest.mark.slow
def test_a_script_from_standard_input_runs_with_two_workers(tmp_path):
    # Workers looked for a file <stdin>.
    done = python("-", text=script(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Board:" in done.stdout


def test_the_script_is_there_again_once_workers_are_started():
    before = sys.modules["__main__"]
    with starting():
        assert sys.modules["__main__"] is not before
    assert sys.modules["__main__"] is before


class Job:
    """What a user's script defines, under the name that it has there."""


def test_a_class_of_the_script_is_not_sent_to_workers(monkeypatch):
    monkeypatch.setattr(Job, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Job", Job, raising=False)
    with pytest.raises(SpecError, match="'Job' is defined in the script itself"):
        require_sendable([Job()])
    assert require_sendable([1, "text"]) == [1, "text"]


def test_workers_start_where_signals_cannot_be_masked(monkeypatch):
    # Windows: `signal` has no `pthread_sigmask`.
    monkeypatch.delattr(signal, "pthread_sigmask")
    with starting():
        assert "__file__" not in vars(sys.modules["__main__"])


def test_an_ascii_console_shows_a_board_whose_note_is_in_another_script(tmp_path):
    # UnicodeEncodeError, after everything had been computed.
    store = ResultStore(tmp_path)
    store.write_protocol("tiny-v1", {**protocol(), "note": "Größe ε"})
    add(store, "vanilla", survivors(1))
    command = ("-m", "robustdeq", "board", "--results", tmp_path)
    done = python(*command, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert r"Gr\xf6\xdfe \u03b5" in done.stdout
    assert "Größe ε" in python(*command, PYTHONIOENCODING="utf-8").stdout


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a mark in front"])
def test_a_protocol_is_utf_8_whatever_the_locale_is(tmp_path, mark):
    path = tmp_path / "tiny.toml"
    text = TINY.replace('name = "tiny"', 'name = "tiny"\nnote = "Größe ε"')
    path.write_text(mark + text, encoding="utf-8")
    script = (
        "import locale, sys; from robustdeq.evaluation.protocol import load_protocol; "
        "print(locale.getencoding(), ascii(load_protocol(sys.argv[1]).note))"
    )
    done = python("-c", script, path, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    encoding, note = done.stdout.split(" ", 1)
    assert encoding.lower() not in ("utf-8", "utf8")
    assert note.strip() == ascii("Größe ε")
