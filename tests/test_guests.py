"""Somebody else's plug-in runs in processes of its own: other rows are out of its reach."""

import os

import pytest
import torch
from commands import ENTRANTS, TINY, is_sentence, prepare, run

from robustdeq.defenses.base import Defense
from robustdeq.engines.pools import guests
from robustdeq.entrant import Entrant
from robustdeq.evaluation.crafting import Crafter
from robustdeq.results.store.result_store import ResultStore

DEFENSE = """
import os
import signal
from dataclasses import dataclass
from typing import ClassVar
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card(title="Planted", citation="by hand")
    stage: ClassVar[str] = "inference"

    def {hook}(self, target, *arguments):
        {body}
        return self.base.{hook}(target, *arguments)
"""

# Whoever is attacked in this process keeps every image as it is.
POISON = """
from robustdeq.evaluation.crafting import Crafter, Crafted
import torch

def harmless(self, samples, seed, attacked):
    x = samples.images
    return Crafted(x.clone(), x.new_full((len(x),), -torch.inf), attacked.clone())

Crafter.__call__ = harmless
"""

FIRST = '[[entrants]]\ndefense = "planted/explicit"\nrecipe = { epochs = 1 }\n'


def with_guest(folder, hook="infer", body="pass", top=""):
    """Write a roster whose first entrant is a lone file's."""
    text = DEFENSE.format(hook=hook, body=body)
    (folder / "planted.py").write_text(text.replace("@dataclass", f"{top}\n@dataclass", 1))
    prepare(folder, entrants=FIRST + ENTRANTS)
    return folder / "planted.py"


def by_chain(folder):
    """The records of a folder, by chain."""
    found: dict = {}
    for record in ResultStore(folder / "runs").scan():
        found.setdefault(record.entrant["chain"], []).append(record)
    return found


REPLACED = {
    "a method": (POISON, "robustdeq.evaluation.crafting.Crafter.__call__"),
    "a function": (
        "import robustdeq.evaluation.candidates as c; c.candidates_of = lambda *a: None",
        "robustdeq.evaluation.candidates.candidates_of",
    ),
    "a name that another module imported": (
        "import robustdeq.evaluation.sides as e; e.preflight = lambda *a: []",
        "robustdeq.evaluation.sides.preflight",
    ),
    "the code of a function": (
        "import torch; torch.nn.functional.relu.__code__ = "
        "(lambda input, inplace=False: input).__code__",
        ".relu",
    ),
    "a function of torch": (
        "import torch; torch.isfinite = lambda x: torch.ones_like(x).bool()", "torch.isfinite",
    ),
    "a function of Python": (
        "import builtins; builtins.print = lambda *a, **k: None", "builtins.print",
    ),
    "a method of tensors": (
        "import torch; torch.Tensor.argmax = lambda self, *a, **k: 0", "torch.Tensor.argmax",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("patch", "named"), REPLACED.values(), ids=REPLACED)
def test_a_file_that_replaces_what_is_not_its_own_is_refused_and_undone(tmp_path, patch, named):
    relu = torch.nn.functional.relu
    before = torch.isfinite, torch.Tensor.argmax, Crafter.__call__, relu.__code__
    answer = run(tmp_path, "--plugin", with_guest(tmp_path, top=patch))
    assert answer.refuses("planted.py replaces", named)
    assert not (tmp_path / "runs").exists()
    after = torch.isfinite, torch.Tensor.argmax, Crafter.__call__, relu.__code__
    assert before == after


def test_a_hook_that_replaces_what_is_not_its_own_is_worth_no_record(tmp_path):
    body = (
        "import robustdeq.evaluation.judge as j; "
        "j.Judge.harm = lambda self, x, *more: -x.new_ones(len(x))"
    )
    answer = run(tmp_path, "--plugin", with_guest(tmp_path, body=body))
    assert answer.code == 3
    assert "planted replaces robustdeq.evaluation.judge.Judge.harm" in answer.err
    assert "planted/explicit" not in by_chain(tmp_path)
    assert any(r.robust < r.clean for r in by_chain(tmp_path)["explicit"])


def test_other_rows_are_computed_where_no_lone_file_was_ever_loaded(tmp_path):
    mark = 'os.makedirs(f"{{__file__}}.{}.{{os.getpid()}}", exist_ok=True)'
    planted = with_guest(tmp_path, top=mark.format("loaded"), body=mark.format("asked"))
    assert run(tmp_path, "--plugin", planted, workers=1).code == 0
    loaded, asked = (
        {path.suffix for path in tmp_path.glob(f"planted.py.{name}.*")}
        for name in ("loaded", "asked")
    )
    assert asked < loaded  # this process has loaded it, to know its name, and has asked it nothing
    assert loaded - asked == {f".{os.getpid()}"}


@pytest.mark.parametrize(
    ("end", "workers"), [("os._exit(0)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", 2)]
)
def test_a_hook_that_ends_its_process_is_told_and_the_others_go_on(tmp_path, end, workers):
    answer = run(tmp_path, "--plugin", with_guest(tmp_path, body=end), workers=workers)
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert "the process of planted ended before its answer" in answer.err
    assert len(by_chain(tmp_path)["explicit"]) == 4
    assert "planted/explicit" not in by_chain(tmp_path)


def test_a_column_whose_attack_ends_its_process_costs_no_other_column(tmp_path):
    text = (
        "import os\nfrom dataclasses import dataclass\n"
        "from robustdeq.attacks.base import Attack\n\n"
        "@dataclass(frozen=True)\nclass Planted(Attack):\n"
        "    def run(self, search):\n        os._exit(0)\n"
    )
    (tmp_path / "planted.py").write_text(text)
    column = '[[columns]]\nname = "own"\nseeds = [0]\nstages = [{ attack = "planted" }]\n'
    prepare(tmp_path, TINY.replace("[[columns]]", f"{column}\n[[columns]]", 1))
    answer = run(tmp_path, "--plugin", tmp_path / "planted.py", workers=2)
    assert answer.code == 3
    assert "explicit own failed" in answer.err
    assert len(by_chain(tmp_path)["explicit"]) == 4


def test_the_packages_own_plug_ins_are_no_guests():
    assert guests(Entrant(Defense.from_text("trades/vanilla"))) == set()


KEPT = {
    "in a global": ("SEEN = []", "SEEN.append(arguments[0].mean().item())"),
    "in a default": ("def keep(x, seen=[]): seen.append(x)", "keep(arguments[0].mean().item())"),
    "on its class": ("", "type(self).seen = arguments[0].mean().item()"),
}


@pytest.mark.parametrize(("top", "body"), KEPT.values(), ids=KEPT)
def test_what_is_kept_outside_of_the_model_is_told(tmp_path, top, body):
    """Copies of a model share the globals of its module: a memory there had 97 % and no flag."""
    run(tmp_path, "--plugin", with_guest(tmp_path, body=body, top=top))
    for record in by_chain(tmp_path)["planted/explicit"]:
        assert "stateful" in {flag["name"] for flag in record.flags}


def test_what_is_computed_for_the_first_question_is_no_memory(tmp_path):
    top = "KERNEL = {}"
    body = "KERNEL.setdefault(8, arguments[0].new_ones(1))"
    run(tmp_path, "--plugin", with_guest(tmp_path, body=body, top=top))
    for record in by_chain(tmp_path)["planted/explicit"]:
        assert "stateful" not in {flag["name"] for flag in record.flags}
