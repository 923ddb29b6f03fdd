"""The report of the timing tables: resumed where it stopped, and honest about what is missing."""

import subprocess
import sys

import pytest

pytest.importorskip("torchdeq")

from benchmarks.timing import report
from benchmarks.timing.report import Section

PLATFORM, BROKEN = (
    Section("The machine", "platform"),
    Section("Broken, by design", "no_such_module"),
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "KEPT", tmp_path / "kept")

    def run(*sections, arguments=()):
        monkeypatch.setattr(report, "SECTIONS", sections)
        out = tmp_path / "reports" / "performance.md"
        monkeypatch.setattr(sys, "argv", ["report", "--out", str(out), *arguments])
        report.main()
        return out.read_text()

    return run


def test_a_section_shows_its_command_and_what_it_printed(run):
    text = run(PLATFORM, BROKEN, arguments=["--only", "The"])
    printed = subprocess.run(
        [sys.executable, "-m", "platform"], capture_output=True, text=True, check=True
    ).stdout
    assert f"## The machine\n\n`python -m platform`\n\n{printed}" in text
    assert "## Broken, by design\n\n`python -m no_such_module`\n\nNot measured.\n" in text


def test_what_was_measured_before_a_failure_is_kept_and_not_measured_again(run, monkeypatch):
    with pytest.raises(subprocess.CalledProcessError):
        run(PLATFORM, BROKEN)
    assert PLATFORM.kept.read_text()
    PLATFORM.kept.write_text("from before")
    other = Section("Another", "platform")
    assert "from before" in run(PLATFORM, other)
    assert "from before" not in run(PLATFORM, other, arguments=["--again"])


def test_a_section_that_needs_a_folder_waits_for_it(run):
    text = run(PLATFORM, Section("Elsewhere", f"platform {report.MNIST}"))
    assert text.rstrip().endswith("Not measured.")
