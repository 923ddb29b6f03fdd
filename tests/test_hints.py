"""Every command that a message, a help text or a page tells to type is one that works."""

import ast
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import TINY, prepare, robustdeq, run

import robustdeq as package
from robustdeq.cli import parser
from robustdeq.entrant import Recipe
from robustdeq.errors import CheckpointError, SpecError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import find_entry
from robustdeq.registry import load_file

ROOT = Path(package.__file__).parent
REPOSITORY = ROOT.parent
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]
CODE = sorted([*ROOT.rglob("*.py"), *REPOSITORY.glob("benchmarks/**/*.py")])
QUOTED = re.compile(r"`robustdeq((?: (?!\{shlex)[^`]*)?)`")
LINE = re.compile(
    r"^[ ]*robustdeq (?=[a-z-])((?:(?!  |#).)+)", re.MULTILINE
)  # in lists of examples
NO_STORE = [  # what has no results yet
    "run PROTOCOL --plugin mine.py", "run PROTOCOL --entrant own.toml", "run own.toml",
]  # fmt: skip

# What stands in a message where the code computes a word, and what a reader puts for a capital.
EXAMPLES = {
    "entrant.chain": "explicit", "trial.entrant.chain": "explicit", "entrant.seed": "0",
    "trial.entrant.seed": "0", "protocol": "digits-linf-v1", "store.root": "my runs",
    "root": "my runs", "self.root": "my runs", "name": "mine.py", "where": "own.toml",
}  # fmt: skip
CAPITALS = {
    "PROTOCOL.toml": "mine.toml", "PROTOCOL": "digits-linf-v1", "ENTRANT": "explicit",
    "DIR": "runs",
}  # fmt: skip


def texts(tree):
    """Every string of a file, an f-string with the sources of its values in braces."""
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def calls(tree):
    """The command of every call of `hint`; words that are not always there are left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hint":
            yield shlex.join(
                word.value if isinstance(word, ast.Constant) else EXAMPLES[ast.unparse(word)]
                for word in node.args
                if not isinstance(word, ast.Starred)
            )


def written():
    """(where, command) of all that the package, the benchmarks and the pages tell to type."""
    for path in CODE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for text in texts(tree):
            yield from ((path, found) for found in (*QUOTED.findall(text), *LINE.findall(text)))
        yield from ((path, command) for command in calls(tree))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        yield from ((path, found) for found in (*QUOTED.findall(text), *LINE.findall(text)))


WRITTEN = sorted({(str(p.relative_to(REPOSITORY)), " ".join(c.split())) for p, c in written()})


def test_the_commands_in_words_are_found():
    commands = [command for _, command in WRITTEN]
    assert "run --again --entrant vanilla" in commands
    assert "migrate 'my runs'" in commands
    assert len(WRITTEN) > 60


@pytest.mark.parametrize(("where", "command"), WRITTEN, ids=lambda text: text or "-")
def test_a_command_in_words_is_one_that_the_parser_takes(where, command):
    """`board` named another default store than it had, and hints were typed by nobody."""
    words = [CAPITALS.get(word, word) for word in shlex.split(command)]
    if len(words) <= 1 or words[-1] == "--help":  # a name, and nothing to type
        with pytest.raises(SystemExit, match=r"^0$"):
            parser().parse_args([*words, "--help"])
        return
    options = parser().parse_args(words)
    named = getattr(options, "protocol", None)
    if isinstance(named, str) and not named.endswith(".toml") and named != "mine":
        load_protocol(named)
    entrants = getattr(options, "entrant", None) or []
    for chain in [entrants] if isinstance(entrants, str) else entrants:
        if not chain.endswith(".toml") and not options.plugin:
            find_entry(chain)


def test_a_command_in_an_error_reaches_the_store_that_was_asked_about():
    """`train CHAIN` trained into ./runs, under the default protocol, whatever had been asked."""
    plain, elsewhere = [], []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        plain += [(path, text) for node in raised for text in texts(node) if QUOTED.search(text)]
        elsewhere += [
            command
            for command in calls(tree)
            if "--results" not in command and not command.startswith("migrate ")
        ]
    assert plain == []  # a path needs quotes: that is what `hint` is for
    assert elsewhere == NO_STORE


def told(message):
    """The command that a message tells to type."""
    (found,) = QUOTED.findall(str(message))
    return shlex.split(found)


def refused(call, *arguments, **named):
    with pytest.raises((CheckpointError, SpecError)) as error:
        call(*arguments, **named)
    return error.value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A protocol in a folder whose name needs quotes; a protocol's recipe is of one epoch."""

    def briefly(chain, protocol=""):
        size = 64 if protocol.endswith(".toml") else 128
        return replace(find_entry(chain, protocol), recipe=Recipe(epochs=1, batch_size=size))

    monkeypatch.setattr("robustdeq.evaluation.roster.find_entry", briefly)
    (tmp_path / "it's mine").mkdir()
    return prepare(tmp_path / "it's mine")


def test_what_is_not_trained_is_trained_by_the_command_that_the_message_tells(folder):
    asked = {"results": folder / "my runs", "protocol": str(folder / "tiny.toml")}
    for protocol in (asked["protocol"], "digits-linf-v1"):
        asked["protocol"] = protocol
        command = told(refused(package.load_model, "explicit", **asked))
        answer = robustdeq(*command, "--quiet", "--workers", 1)
        assert answer.code == 0, answer.err
        assert package.load_model("explicit", **asked).defense.chain == "explicit"


SOURCE = """
[[columns]]
name = "transfer"
seeds = [0]
images = 20
stages = [{ attack = { name = "pgd", steps = 1 }, surrogate = "transfer" }]
sources = [{ defense = "explicit", recipe = { epochs = 1 }, seed = 100 }]
"""


def test_a_source_that_is_not_there_is_trained_by_the_command_that_the_message_tells(folder):
    prepare(folder, TINY.partition("[[columns]]")[0] + SOURCE)
    asked = {"results": folder / "runs", "protocol": str(folder / "tiny.toml")}
    command = told(refused(package.load_model, "explicit", **asked))
    assert robustdeq(*command, "--quiet", "--workers", 1).code == 0
    command = told(refused(package.evaluate, "explicit", "transfer", **asked))
    assert robustdeq(*command, "--quiet", "--workers", 1).code == 0
    assert package.evaluate("explicit", "transfer", **asked).status == "done"


def test_a_seed_that_no_command_would_train_is_told_as_such(folder):
    asked = {"results": folder / "runs", "protocol": str(folder / "tiny.toml")}
    error = refused(package.load_model, "explicit", seed=7, **asked)
    assert "seed 7 is no training seed of tiny; it has 0" in str(error)


def test_the_command_has_the_lone_files_that_the_program_has_loaded(folder, monkeypatch):
    own = folder / "my_own.py"
    own.write_text((ROOT / "defenses/explicit.py").read_text(encoding="utf-8"))
    monkeypatch.setitem(sys.modules, "robustdeq_lone_files.my_own", None)  # to be forgotten again
    del sys.modules["robustdeq_lone_files.my_own"]
    load_file(own)
    asked = {"results": folder / "runs", "protocol": str(folder / "tiny.toml")}
    command = told(refused(package.load_model, "my-own", **asked))
    assert command[-2:] == ["--plugin", str(own)]
    assert robustdeq(*command, "--quiet", "--workers", 1).code == 0
    assert package.load_model("my-own", **asked).defense.chain == "my-own"


@pytest.mark.parametrize("asked", [("board", "tiny"), ("report", "--protocol", "tiny", "a", "b")])
def test_a_store_of_nothing_is_filled_by_the_command_that_the_message_tells(folder, asked):
    store = ("--results", folder / "my runs")
    command = told(robustdeq(*asked, *store).err)
    typed = [str(folder / "tiny.toml") if word == "PROTOCOL" else word for word in command]
    more = ("--entrant", folder / "entrants.toml", "--quiet", "--workers", 1)
    assert robustdeq(*typed, *more).code == 0
    assert robustdeq("board", "tiny", *store).code == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run."""
    folder = prepare(tmp_path_factory.mktemp("made"))
    assert run(folder).code == 0
    return folder


def test_an_edited_record_is_made_again_once_it_is_deleted(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "copy")
    board = ("board", "--results", folder / "runs")
    whole = robustdeq(*board).out
    path = sorted((folder / "runs/records").glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    answer = robustdeq(*board)
    assert answer.refuses(str(path), "delete it and run again the command that made it")
    path.unlink()
    assert run(folder).code == 0
    assert robustdeq(*board).out == whole


def test_a_report_on_a_goal_that_no_column_has_tells_a_protocol_that_has_one(made):
    """It said to run the protocol first, which never had such a column."""
    for of, goal in (("slow-down", "cost"), ("state-map", "map")):
        answer = robustdeq("report", "--of", of, "--results", made / "runs")
        assert answer.refuses(f"tiny has no column whose goal is '{goal}'", "digits-linf-v2")
        assert goal in {column.goal for column in load_protocol("digits-linf-v2").columns}
