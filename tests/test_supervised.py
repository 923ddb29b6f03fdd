"""A plug-in cannot end a command silently, whatever it does in the process that imports it."""

import os
import signal
import subprocess
import sys
import time
from argparse import Namespace

import pytest
from commands import is_sentence, prepare

from robustdeq.cli.supervised import foreign

PLUGIN = """
import atexit, ctypes, os, signal, threading, time
from dataclasses import dataclass
from robustdeq.attacks.base import Attack

end = ctypes.CDLL(None)._exit
{top}

@dataclass(frozen=True)
class Planted(Attack):
    def run(self, search):
        search.put_forward(search.samples.images)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork, exec and POSIX signals")
SILENT = {
    "ctypes": "end(0)",
    "exec": "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
    "timer": "threading.Timer(0.05, lambda: end(0)).start(); time.sleep(1)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
}


def command(*arguments):
    return [sys.executable, "-m", "robustdeq", *map(str, arguments)]


def planted(folder, top):
    (folder / "planted.py").write_text(PLUGIN.format(top=top))
    return folder / "planted.py"


@posix
@pytest.mark.parametrize("end", SILENT)
def test_a_silent_end_is_told_and_has_an_exit_code_of_its_own(tmp_path, end):
    plugin = planted(tmp_path, SILENT[end])
    answer = subprocess.run(
        command("list", "attacks", "--plugin", plugin), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 3
    assert is_sentence(answer.stderr)
    assert "the command ended without a word" in answer.stderr


@posix
def test_the_exit_code_is_no_longer_a_plug_ins_to_change_when_the_command_is_done(tmp_path):
    plugin = planted(tmp_path, "atexit.register(end, 7)")
    answer = subprocess.run(
        command("list", "attacks", "--plugin", plugin), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0
    assert "planted" in answer.stdout


def test_what_is_printed_and_the_code_are_those_of_the_command(tmp_path):
    plugin = planted(tmp_path, "pass")
    answer = subprocess.run(
        command("run", "no-such", "--plugin", plugin), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert is_sentence(answer.stderr)
    assert "no-such" in answer.stderr


@posix
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_signals_are_handed_on(tmp_path, sent, code):
    slow = "open(__file__ + '.begun', 'w').close(); time.sleep(60)"
    plugin = planted(prepare(tmp_path), slow)
    process = subprocess.Popen(
        command("list", "attacks", "--plugin", plugin), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    begun = tmp_path / "planted.py.begun"
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "without a word" not in err
    assert ("interrupted; the same command goes on" in err) == (sent == signal.SIGINT)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, False), ({"plugin": []}, False), ({"plugin": ["a.py"]}, True),
     ({"plugin": "a.py"}, True), ({"plugin": "trades/vanilla"}, False)],
)  # fmt: skip
def test_only_commands_with_somebody_elses_code_are_watched(options, expected):
    assert foreign(Namespace(**options)) == expected
