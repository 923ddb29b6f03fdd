"""Somebody else's entrant is judged, and searched, from outside its own processes."""

import pytest
from commands import TINY, is_sentence, prepare, run
from test_guests import by_chain

HEAD = """
import os
import sys
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from robustdeq.defenses.base import Card, Wrapper

def callers():
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back

def sealed():
    return any(frame.f_code.co_name == "serve" for frame in callers())

class Bomb:
    def __reduce__(self):
        return os.mkdir, (f"{__file__}.bang",)

@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card(title="Planted", citation="by hand")
    stage: ClassVar[str] = "inference"
    inference: ClassVar = Wrapper.inference

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
"""
ONE = """
[[entrants]]
defense = "explicit"
recipe = { epochs = 1 }
"""
BOTH = ONE.replace("explicit", "planted/explicit") + ONE


def planted(folder, *lines, protocol=TINY):
    """Write a roster of a guest and its base; the lines end the guest's own `infer`."""
    body = "".join(f"        {line}\n" for line in lines)
    (folder / "planted.py").write_text(HEAD.lstrip() + body)
    prepare(folder, protocol, BOTH)
    return folder / "planted.py"


def figures(folder, chain):
    """What the records of a chain say, by column."""
    return {
        record.column["name"]: (record.clean, record.robust, record.flags)
        for record in by_chain(folder)[chain]
    }


def test_an_honest_guest_has_the_figures_of_its_base(tmp_path):
    assert run(tmp_path, "--plugin", planted(tmp_path, "return answer")).code == 0
    assert figures(tmp_path, "planted/explicit") == figures(tmp_path, "explicit")


def test_no_judge_and_no_labels_are_among_the_callers_of_an_answer(tmp_path):
    bribe = (
        "for frame in callers():",
        "    for y in frame.f_locals.values():",
        "        whole = getattr(y, 'dtype', None) is torch.int64",
        "        if whole and len(y) == len(x) and 'judge' in frame.f_code.co_filename:",
        "            y[:] = answer.logits.argmax(1)",
        "return answer",
    )
    assert run(tmp_path, "--plugin", planted(tmp_path, *bribe)).code == 0
    assert figures(tmp_path, "planted/explicit") == figures(tmp_path, "explicit")


def test_a_hook_that_writes_into_its_images_writes_into_its_own(tmp_path):
    writes = ("x.data.mul_(0.5)", "x.numpy()[:] = 0.25", "return answer")
    assert run(tmp_path, "--plugin", planted(tmp_path, *writes)).code == 0
    assert figures(tmp_path, "planted/explicit") == figures(tmp_path, "explicit")


def test_a_search_and_a_judge_ask_in_one_voice_and_one_process(tmp_path):
    told = (
        "asked = sorted({frame.f_code.co_name for frame in callers()})",
        'with open(f"{__file__}.log", "a") as log:',
        "    print(os.getpid(), len(x), *asked, file=log) if sealed() else None",
        "return answer",
    )
    square = TINY[: TINY.index("[[columns]]")] + TINY[TINY.rindex("[[columns]]") :]
    assert run(tmp_path, "--plugin", planted(tmp_path, *told, protocol=square)).code == 0
    log = (tmp_path / "planted.py.log").read_text().splitlines()
    questions = {}
    for line in log:
        process, _, *names = line.split()
        questions.setdefault(process, set()).add(tuple(names))
    assert len(questions) == 2  # the attacker's process, which is asked whether it is sound, too
    assert min(len(ways) for ways in questions.values()) == 1


WRONG = {
    "more classes": (
        "replace(answer, logits=torch.cat([answer.logits, answer.logits[:, :1]], 1))",
        "answers with logits of 11 classes, but its network was built for 10",
    ),
    "another length": ("replace(answer, logits=answer.logits[:-1])", "of other length"),
    "no prediction": ("'all of them'", "answered with a str"),
    "whole numbers": ("replace(answer, logits=answer.logits.long())", "int64 logits"),
    "code": ("replace(answer, logits=Bomb())", "sent what is no answer"),
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_answer_is_told_and_never_run(tmp_path, wrong, words):
    guest = planted(tmp_path, f"return {wrong} if sealed() else answer")
    answer = run(tmp_path, "--plugin", guest)
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert words in answer.err
    assert not (tmp_path / "planted.py.bang").exists()
    assert len(by_chain(tmp_path)["explicit"]) == 2


def test_a_defect_of_a_guest_is_told_with_its_own_traceback(tmp_path, capfd):
    guest = planted(tmp_path, "return answer.logits.gone if sealed() else answer")
    answer = run(tmp_path, "--plugin", guest)
    assert answer.code == 3
    assert "AttributeError" in answer.err
    assert f'File "{guest}"' in capfd.readouterr().err  # of the worker


OBJECTIVE = """
from dataclasses import dataclass
from robustdeq.objectives.base import Objective
from robustdeq.objectives.margin import Margin

@dataclass(frozen=True)
class Planted(Objective):
    def __call__(self, view, y, target=None):
        {write}
        return Margin()(view, y, target)
"""


@pytest.mark.parametrize(
    ("write", "named"), [("y.numpy()[:] = 0", "labels"), ("view.logits.data.zero_()", "logits")]
)
def test_an_objective_that_writes_past_torch_is_named(tmp_path, write, named):
    (tmp_path / "planted.py").write_text(OBJECTIVE.format(write=write))
    own = TINY.replace('"pgd", steps = 2', '"pgd", steps = 2, objective = "planted"')
    prepare(tmp_path, own, ONE)
    answer = run(tmp_path, "--plugin", tmp_path / "planted.py")
    assert answer.code == 3
    assert f"objective 'planted' wrote into the {named}" in answer.err
