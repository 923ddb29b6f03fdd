"""The README is run: what it shows works, in the order in which it is shown.

Every ```python block is executed, all in one namespace, and every ```sh block is run with bash, all
in one empty folder. A ```sh block is passed over if its first line is the comment `# not run by the
tests`, or if it sets up an environment of its own, as the two commands for a fresh machine do.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
NOT_RUN = ("# not run by the tests", "python3 -m venv ")


def blocks(text):
    """(language, line of its first line, code) of every fenced block with a language."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield match[1], text.count("\n", 0, match.start()) + 2, match[2]


RUN = [
    (language, line, code)
    for language, line, code in blocks(README)
    if language == "python" or (language == "sh" and not code.startswith(NOT_RUN))
]


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_one_after_the_other(tmp_path, monkeypatch):
    """One test, since a block goes on where the one before it ended."""
    monkeypatch.chdir(tmp_path)
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    namespace = {"__name__": "readme"}
    for language, line, code in RUN:
        if language == "python":
            padded = "\n" * (line - 1) + code  # so that a traceback shows the README's line
            exec(compile(padded, REPOSITORY / "README.md", "exec"), namespace)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"README.md, line {line}:\n{done.stdout}\n{done.stderr}"


def test_the_readme_shows_the_command_that_runs_the_tests():
    command = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert command in README.splitlines()


def test_the_readme_has_blocks_that_run_and_the_two_commands_for_a_fresh_machine():
    assert RUN
    fresh = [code for language, _, code in blocks(README) if code.startswith("python3 -m venv ")]
    assert len(fresh) == 2
    for code in fresh:
        assert len(code.splitlines()) == 1


def test_the_readme_is_two_screens_to_the_board_and_two_hundred_lines_in_all():
    assert len(README.splitlines()) <= 200
    assert README[: README.index("| rank |")].count("\n") < 30


def test_fenced_blocks_are_found_with_their_language_and_line():
    text = "a\n```python\nx = 1\n```\n\n```\nplain\n```\n```sh\nls\n```\n"
    assert list(blocks(text)) == [("python", 3, "x = 1\n"), ("sh", 10, "ls\n")]
