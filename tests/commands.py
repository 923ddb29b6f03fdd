"""The command line as a user sees it, on the smallest protocol that has everything."""

import io
import pickle
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from robustdeq.cli import main
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.results.store.result_store import ResultStore

TINY = f"""
name = "tiny"
digest = "{load_protocol("digits-linf-v1").digest}"
data = "digits"
threat = {{ name = "linf", eps = "3/16" }}

[[columns]]
name = "pgd-2"
seeds = [0]
images = 20
stages = [{{ attack = {{ name = "pgd", steps = 2 }} }}]

[[columns]]
name = "square-5"
seeds = [0, 1]
images = 20
stages = [{{ attack = {{ name = "square", queries = 5 }} }}]
"""

ENTRANTS = """
[[entrants]]
defense = "explicit"
recipe = { epochs = 1 }

[[entrants]]
defense = { name = "explicit", channels = 8 }
recipe = { epochs = 1 }
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and the code it ended with."""

    code: int
    out: str
    err: str

    def refuses(self, *words: str) -> bool:
        """Whether it is a user error in a sentence with these words."""
        return self.code == 2 and is_sentence(self.err) and all(word in self.err for word in words)


def is_sentence(err: str) -> bool:
    return "Traceback" not in err and err.strip().splitlines()[-1].startswith("robustdeq: ")


def robustdeq(*arguments: object) -> Answer:
    """Run a command in this process, which then forgets its lone files as a process of its own."""
    out, err, before = io.StringIO(), io.StringIO(), set(sys.modules)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse, about the form of a command line
            code = int(stop.code or 0)
    for name in set(sys.modules) - before:
        if name.startswith("robustdeq_lone_files."):
            del sys.modules[name]
    return Answer(code, out.getvalue(), err.getvalue())


def run(folder: Path, *arguments: object, workers: int = 1) -> Answer:
    """`robustdeq run` of the files that `prepare` wrote."""
    return robustdeq(
        "run", folder / "tiny.toml", "--entrant", folder / "entrants.toml",
        "--results", folder / "runs", "--workers", workers, "--quiet", *arguments,
    )  # fmt: skip


def prepare(folder: Path, protocol: str = TINY, entrants: str = ENTRANTS) -> Path:
    """Write a protocol and a roster into the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.toml").write_text(protocol)
    (folder / "entrants.toml").write_text(entrants)
    return folder


def stamps(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the nanosecond of its last change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def samples(results: Path) -> dict[str, bytes]:
    """The sample tables of a store, bit for bit."""
    store = ResultStore(results)
    tables = {record.stem: store.samples(record) for record in store.scan()}
    return {stem: pickle.dumps(table.to_pydict()) for stem, table in tables.items()}
