"""The command line: what it prints, which code it ends with, what it imports and what it keeps."""

import csv
import io
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from commands import TINY, prepare, robustdeq, run, stamps

from robustdeq.cli import board
from robustdeq.cli.listing import KINDS
from robustdeq.evaluation.protocol import load_protocol, shipped
from robustdeq.evaluation.roster import default_entries
from robustdeq.kinds import CONTRACTS
from robustdeq.registry import names
from robustdeq.results.flags import FLAGS
from robustdeq.results.store.result_store import ResultStore

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of two entrants against two columns."""
    folder = prepare(tmp_path_factory.mktemp("made"))
    answer = run(folder)
    assert answer.code == 0, answer.err
    return folder, answer


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the finished run, to be spoilt."""
    return shutil.copytree(made[0], tmp_path / "copy")


def test_a_run_prints_every_row_then_the_board_and_where_its_files_are(made):
    folder, answer = made
    assert "explicit: " in answer.err
    assert "explicit [channels=8]: " in answer.err
    assert (folder / "runs/boards/tiny.md").read_text() in answer.out
    for part in ("boards/tiny.csv", "boards/tiny.json", "records", "checkpoints"):
        path = folder / "runs" / part
        assert path.exists()
        assert str(path) in answer.out


def test_a_second_run_computes_nothing_and_prints_the_same_board(folder):
    before = stamps(folder / "runs")
    answer = run(folder, workers=2)
    boards = {"boards/tiny.md", "boards/tiny.csv", "boards/tiny.json"}
    after = stamps(folder / "runs")
    assert answer.code == 0
    assert answer.err == ""
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= boards
    assert (folder / "runs/boards/tiny.md").read_text() in answer.out


def test_a_finished_run_needs_no_weights(folder):
    shutil.rmtree(folder / "runs/checkpoints")
    answer = run(folder)
    assert (answer.code, answer.err) == (0, "")
    assert not (folder / "runs/checkpoints").exists()


def test_again_adds_run_number_one_of_every_trial_and_touches_no_other_record(folder):
    before = stamps(folder / "runs/records")
    assert run(folder, "--again").code == 0
    after = stamps(folder / "runs/records")
    first = {name for name in before if name.endswith("-0.parquet")}
    assert len(first) == 4
    assert {name: after[name] for name in before} == before
    added = {name for name in after.keys() - before.keys() if name.endswith(".parquet")}
    assert added == {name.replace("-0.parquet", "-1.parquet") for name in first}


def test_train_makes_the_weights_that_run_then_uses(tmp_path):
    prepare(tmp_path)
    arguments = ("--protocol", tmp_path / "tiny.toml", "--results", tmp_path / "runs", "--quiet")
    answer = robustdeq("train", tmp_path / "entrants.toml", *arguments, "--workers", 1)
    assert answer.code == 0
    weights = stamps(tmp_path / "runs/checkpoints")
    assert len(weights) == 2
    assert not (tmp_path / "runs/records").exists()
    assert answer.out.count("explicit seed 0 is trained: log and card in ") == 2
    assert run(tmp_path).code == 0
    assert stamps(tmp_path / "runs/checkpoints") == weights
    assert len(list((tmp_path / "runs/records").glob("*.parquet"))) == 4


def test_a_run_of_one_training_seed_leaves_the_others_for_elsewhere(tmp_path):
    prepare(tmp_path, TINY.replace("[[columns]]", "training_seeds = [0, 1]\n[[columns]]", 1))
    assert run(tmp_path, "--seed", 2).refuses("seed 2 is no training seed of tiny; it has 0, 1")
    assert not (tmp_path / "runs/records").exists()
    assert run(tmp_path, "--seed", 1).code == 0
    found = ResultStore(tmp_path / "runs").scan()
    assert [record.entrant["seed"] for record in found] == 4 * [1]


def test_an_entrant_named_twice_enters_once_for_each_training_seed():
    protocol = load_protocol("digits-linf-v1")
    listed = [entry.entrant for entry in default_entries()]
    data = protocol.load_data()
    once = protocol.lineup(listed, data)
    assert protocol.lineup(listed + listed, data) == once
    assert {entrant.data for entrant in once} == {data.training_digest()}
    assert {entrant.recipe.threat for entrant in once} == {protocol.threat}


def test_a_board_is_printed_in_every_format_and_written_where_asked(folder):
    board = ("board", "--results", folder / "runs")
    content = json.loads(robustdeq(*board, "--format", "json").out)
    assert content["protocol"] == "tiny"
    rows = csv.DictReader(io.StringIO(robustdeq(*board, "--format", "csv").out))
    entrants = [row["entrant"] for row in rows]
    assert entrants == [standing["entrant"] for standing in content["standings"]]
    assert all(f"| {entrant} " in robustdeq(*board).out for entrant in entrants)
    answer = robustdeq(*board, "tiny", "--out", folder / "new/board.md")
    assert (answer.code, answer.out) == (0, "")
    assert (folder / "new/board.md").read_text() == robustdeq(*board).out


def test_check_tells_a_doctored_board_by_its_line(folder):
    check = ("board", "--check", "--results", folder / "runs")
    answer = robustdeq(*check)
    assert answer.code == 0
    assert "3 board files equal what their records give" in answer.out
    path = folder / "runs/boards/tiny.md"
    path.write_text(path.read_text().replace("images of digits", "images of faces"))
    assert robustdeq(*check).refuses(str(path), "at line 3", "images of faces")


def test_check_without_a_folder_is_about_the_committed_results(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert robustdeq("board", "--check").refuses("results holds no boards")
    (folder / "runs").rename(folder / "results")
    assert robustdeq("board", "--check").code == 0


def test_a_board_of_nothing_or_of_the_unknown_is_refused(folder, tmp_path):
    assert robustdeq("board", "--results", tmp_path / "none").refuses(
        "`robustdeq run ", "none` makes some"
    )
    results = ("--results", folder / "runs")
    assert robustdeq("board", "tinny", *results).refuses("did you mean 'tiny'?")
    assert robustdeq("board", "--format", "jsn", *results).refuses("did you mean 'json'?")


def test_a_report_compares_two_entrants(folder):
    other = "explicit [channels=8]"
    report = ("report", "explicit", other, "--results", folder / "runs")
    text = robustdeq(*report).out
    assert f"## explicit against {other}" in text
    assert "Newcombe" in text
    assert robustdeq(*report, "--out", folder / "report.md").code == 0
    assert (folder / "report.md").read_text() == text


def test_a_report_on_an_unknown_entrant_or_on_one_alone_is_refused(folder):
    results = ("--results", folder / "runs")
    unknown = robustdeq("report", "explicit", "explicitt", *results)
    assert unknown.refuses("entrant", "'explicitt'; did you mean 'explicit'?")
    assert robustdeq("report", "explicit", *results).refuses("at least two entrants")
    assert robustdeq("report", "explicit", "explicit", *results).refuses("with itself")


@pytest.mark.parametrize("kind", KINDS)
def test_list_prints_a_line_for_every_name_of_a_kind(kind):
    answer = robustdeq("list", kind)
    listed = {
        "protocols": shipped,
        "flags": lambda: [f"`{flag.name}`" for flag in FLAGS],
        "reports": lambda: ["audits", "times", "slow-down", "state-map"],
    }
    known = listed[kind]() if kind in listed else names(kind)
    assert answer.code == 0
    lines = [line for line in answer.out.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == known
    assert all(len(line.split()) > 2 for line in lines)


def test_list_tells_a_defenses_paper_stage_fields_and_size():
    listed = " ".join(robustdeq("list", "defenses").out.split())
    assert "[network] An untied pre-activation residual network" in listed
    assert "25,162 parameters on 8x8 digits, channels = 24, blocks = 2" in listed
    assert 'base, attack = { name = "pgd", steps = 7 } Towards Deep Learning' in listed
    assert "NeurIPS 2020, W = (1 - m) I - A^T A + B - B^T, proposition 1" in listed
    assert "reported there: CIFAR-10, 10M parameters: 93.6 % (with augmentation)" in listed
    assert "state = -, candidates = [1, 2, 3, 4, 5, 6, 8]" in listed


def test_list_shows_a_lone_file_and_refuses_an_unknown_kind(tmp_path):
    path = tmp_path / "lone_attack.py"
    path.write_text((REPOSITORY / "robustdeq/attacks/pgd.py").read_text())
    assert "\nlone-attack " in robustdeq("list", "attacks", "--plugin", path).out
    assert set(CONTRACTS) < set(KINDS)
    assert robustdeq("list", "protocol").refuses("did you mean 'protocols'?")


def test_check_answers_every_promise_of_a_registered_defense():
    answer = robustdeq("check", "explicit")
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0] == "explicit"
    assert len(lines) > 10
    assert all(line.startswith("  kept    ") for line in lines[1:])


def test_check_refuses_what_has_no_promises(tmp_path):
    path = tmp_path / "lone_attack.py"
    path.write_text((REPOSITORY / "robustdeq/attacks/pgd.py").read_text())
    assert robustdeq("check", path).refuses("holds no defense", f"--plugin {path}")
    assert robustdeq("check", "explict").refuses("did you mean 'explicit'?")


@pytest.mark.parametrize("command", ["run", "train", "audit"])
def test_nothing_is_trained_into_a_folder_of_an_older_schema(tmp_path, command):
    """`run` stopped once it had trained, `train` went on to the end."""
    old = shutil.copytree(REPOSITORY / "tests/results/records_v1", tmp_path / "old")
    named = {"run": ("--entrant", "explicit"), "train": ("explicit",), "audit": ("explicit",)}
    answer = robustdeq(command, *named[command], "--results", old, "--quiet", "--workers", 1)
    assert answer.refuses("records of schema 1", f"`robustdeq migrate {old}`")
    assert not (old / "checkpoints").exists()


def test_boards_reports_and_help_work_without_torch(folder):
    code = """
        import sys
        sys.modules["torch"] = None  # any import of it fails
        from robustdeq.cli import main
        results = ["--results", sys.argv[1]]
        assert main(["board", *results]) == 0
        assert main(["board", "--check", *results]) == 0
        assert main(["report", "explicit", "explicit [channels=8]", *results]) == 0
        main(["--help"])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("# tiny", "## explicit against", "commands:"):
        assert part in done.stdout


def test_a_reader_that_stops_early_is_no_error(folder):
    command = f"{sys.executable} -m robustdeq board --results {folder / 'runs'} | true"
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_defect_shows_its_traceback_and_its_own_exit_code(monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(board, "protocol_of", fail)
    answer = robustdeq("board")
    assert answer.code == 1
    assert "ZeroDivisionError: planted" in answer.err
    assert "please report it" in answer.err


@pytest.mark.slow
def test_an_audit_prints_every_figure_and_a_verdict_and_is_kept(tmp_path):
    """A network of an hour ago, so to speak: one epoch, and eight images."""
    path = tmp_path / "quick.toml"
    small = '{ name = "explicit", channels = 8, blocks = 1 }'
    path.write_text(f"[[entrants]]\ndefense = {small}\nrecipe = {{ epochs = 1 }}\n")
    arguments = ("audit", path, "--images", 8, "--results", tmp_path / "runs", "--quiet")
    answer = robustdeq(*arguments)
    assert answer.code == 0
    assert "gradient: gradient-misaligned" in answer.out
    assert "equilibria" in answer.out
    assert answer.out.rstrip().splitlines()[-1].startswith("Verdict: ")
    records = sorted((tmp_path / "runs" / "records").iterdir())
    assert list((tmp_path / "runs" / "unfinished").iterdir()) == []
    assert answer.out.endswith(robustdeq(*arguments).out)
    assert sorted((tmp_path / "runs" / "records").iterdir()) == records
    other = robustdeq(*arguments, "--attack-seed", 2)
    assert other.code == 0
    assert len(sorted((tmp_path / "runs" / "records").iterdir())) == 2 * len(records)
    told = robustdeq("report", "--of", "audits", "--results", tmp_path / "runs")
    assert "Attack seed 0:" in told.out
    assert "Attack seed 2:" in told.out


def test_an_audit_of_nothing_says_what_to_give():
    assert robustdeq("audit").refuses("no entrant to audit; give a chain such as trades/vanilla")
    assert robustdeq("audit", "vanila").refuses("did you mean 'vanilla'?")
    assert robustdeq("audit", "explicit", "--images", 0).refuses("expected at least 1")
    assert robustdeq("audit", "explicit", "--attack-seed", -1).refuses("from 0 on")


def test_a_report_of_a_goal_takes_no_entrants_and_needs_records(tmp_path):
    results = ("--results", REPOSITORY / "results", "--protocol", "digits-linf-v1")
    assert robustdeq("report", "--of", "slow-down", "explicit", *results).refuses(
        "leave out explicit"
    )
    name = "digits-linf-v2"
    ResultStore(tmp_path).write_protocol(name, load_protocol(name).resolved(500))
    assert robustdeq("report", "--of", "state-map", "--results", tmp_path).refuses(
        "no record of digits-linf-v2", "run `robustdeq run PROTOCOL --results"
    )


def test_a_board_is_found_by_the_file_of_its_protocol(folder):
    results = ("--results", folder / "runs")
    assert robustdeq("board", folder / "tiny.toml", *results) == robustdeq(
        "board", "tiny", *results
    )
    assert robustdeq("board", folder / "tinny.toml", *results).refuses("no protocol file")
