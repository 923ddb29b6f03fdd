"""An attack, a view, an objective, a threat and a report of one file each: named, and no more."""

import json

import pytest
from commands import TINY, prepare, robustdeq, run
from test_guests import by_chain

ATTACK = """
from dataclasses import dataclass
from fractions import Fraction
from robustdeq.attacks.base import Attack
from robustdeq.objectives.cross_entropy import CrossEntropy

@dataclass(frozen=True)
class Planted(Attack):
    steps: int = 3

    def run(self, search):
        sizes = [Fraction(1, 2)] * self.steps
        points = search.ascend(search.start("planted"), CrossEntropy(), sizes)
        search.value(points, CrossEntropy())
"""
VIEW = """
from dataclasses import dataclass
from robustdeq.surfaces.states import intermediate_surface
from robustdeq.surrogates.base import StateSurrogate

@dataclass(frozen=True)
class Planted(StateSurrogate):
    state: int = 4

    @property
    def deepest(self):
        return self.state

    def surface(self, model, prepare):
        return intermediate_surface(model, self.state, 2, 1.0, prepare)
"""
OBJECTIVE = """
from dataclasses import dataclass
from robustdeq.objectives.base import Objective

@dataclass(frozen=True)
class Planted(Objective):
    needs = frozenset({"logits"})

    def __call__(self, view, y, target=None):
        return -view.logits.gather(1, y[:, None])[:, 0]
"""
THREAT = """
from dataclasses import dataclass
from robustdeq.threats.linf import Linf

@dataclass(frozen=True)
class Planted(Linf):
    pass
"""
REPORT = """
from dataclasses import dataclass
from robustdeq.results.boards.board import read_board
from robustdeq.results.page import Heading, Page, Table
from robustdeq.results.reports.base import Report

@dataclass(frozen=True)
class Planted(Report):
    \"\"\"How many images an entrant lost.\"\"\"

    def page(self, store, protocol):
        columns = {
            "entrant": lambda s: s.entrant,
            "lost": lambda s: str(round(s.n * (s.clean - s.robust))),
        }
        standings = read_board(store, protocol).standings
        return Page.of(Heading(f"Lost on {protocol}"), Table.of(standings, columns, ("entrant",)))
"""
STAGES = {
    "attack": (ATTACK, '{ attack = { name = "planted", steps = 2 } }'),
    "view": (
        VIEW,
        '{ attack = { name = "pgd", steps = 2 }, surrogate = { name = "planted", state = 3 } }',
    ),
    "objective": (OBJECTIVE, '{ attack = { name = "pgd", steps = 2, objective = "planted" } }'),
}
ENTRANT = '[[entrants]]\ndefense = "vanilla"\nrecipe = { epochs = 1 }\n'


@pytest.mark.parametrize(("source", "stage"), STAGES.values(), ids=STAGES)
def test_a_stage_is_made_of_one_file(tmp_path, source, stage):
    (tmp_path / "planted.py").write_text(source)
    column = f'\n[[columns]]\nname = "own"\nseeds = [0]\nimages = 20\nstages = [{stage}]\n'
    folder = prepare(tmp_path, TINY + column, ENTRANT)
    answer = run(folder, "--plugin", folder / "planted.py")
    assert answer.code == 0, answer.err
    (record,) = (r for r in by_chain(folder)["vanilla"] if r.column["name"] == "own")
    assert record.status == "done"
    assert record.robust < record.clean
    assert "planted" in str(record.column["stages"])


def test_a_threat_is_made_of_one_file(tmp_path):
    (tmp_path / "planted.py").write_text(THREAT)
    folder = prepare(tmp_path, TINY.replace('name = "linf"', 'name = "planted"'), ENTRANT)
    answer = run(folder, "--plugin", folder / "planted.py")
    assert answer.code == 0, answer.err
    assert "planted radius 3/16" in answer.out


def test_a_report_is_made_of_one_file(tmp_path):
    (tmp_path / "planted.py").write_text(REPORT)
    folder = prepare(tmp_path, TINY, ENTRANT)
    assert run(folder).code == 0
    more = ("--results", folder / "runs", "--plugin", folder / "planted.py")
    answer = robustdeq("report", "--of", "planted", *more)
    assert answer.code == 0, answer.err
    title, _, header, _, row = answer.out.splitlines()
    assert (title, header.split()) == ("# Lost on tiny", ["|", "entrant", "|", "lost", "|"])
    lost = int(row.split("|")[2])
    (found,) = json.loads((folder / "runs/boards/tiny.json").read_text())["standings"]
    assert lost == round(found["n"] * (found["clean"] - found["robust"]))
    assert "How many images an entrant lost" in robustdeq("list", "reports", *more[2:]).out
    assert robustdeq("report", "--of", "plantd", *more).refuses("did you mean 'planted'?")
