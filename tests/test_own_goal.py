"""A goal is one file: attacked, judged, recorded, proven, reported, and part of a trial's name."""

import pytest
from commands import TINY, prepare, run
from test_guests import by_chain

from robustdeq.results.store.result_store import ResultStore

# To be misread as one class, and as no other.
GOAL = """
from dataclasses import dataclass
from typing import ClassVar
from robustdeq.goals.base import Goal
from robustdeq.results.page import Page, Text

@dataclass(frozen=True)
class Planted(Goal):
    title: ClassVar[str] = "planted"

    def damage(self, judge, candidate):
        return judge.answer(candidate.images, candidate.positions).logits[:, {wanted}]

    def contradictions(self, record, tables):
        if record.robust > record.clean:
            yield "it is more robust than right"

    def page(self, store, protocol):
        return Page.of(Text(f"{{len(self.records(store, protocol))}} entrants"))
"""
COLUMN = """
[[columns]]
name = "own"
seeds = [0]
images = 20
goal = "planted"
stages = [{ attack = { name = "pgd", steps = 2 } }]
"""
ENTRANT = '[[entrants]]\ndefense = "explicit"\nrecipe = { epochs = 1 }\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "planted.py").write_text(GOAL.format(wanted=3))
    return prepare(tmp_path, TINY + COLUMN, ENTRANT)


def test_a_goal_is_one_file(folder):
    plugin = ("--plugin", folder / "planted.py")
    answer = run(folder, *plugin)
    assert answer.code == 0
    assert "own" not in answer.out.splitlines()[-1]  # no figure that ranks is of it
    (record,) = (r for r in by_chain(folder)["explicit"] if r.column["name"] == "own")
    found = ResultStore(folder / "runs").samples(record)["adv_pred"].to_pylist()
    assert found.count(3) > 2  # about one image in ten is of that class

    (folder / "planted.py").write_text(GOAL.format(wanted=7))
    assert run(folder, *plugin).refuses("goal_content", "a released protocol never changes")


def test_a_goal_that_nothing_answers_to_is_told_with_the_nearest_name(folder):
    prepare(folder, TINY + COLUMN.replace('"planted"', '"labels"'), ENTRANT)
    answer = run(folder)
    assert answer.refuses("unknown goal 'labels'; did you mean 'label'?")
