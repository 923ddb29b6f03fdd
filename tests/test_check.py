"""`robustdeq check` tells what a plug-in's author would otherwise learn from a board."""

import sys
import textwrap

import pytest
from commands import robustdeq

from robustdeq import registry
from robustdeq.defenses.base import Defense
from robustdeq.testing.declarations import misspelled, uncallable
from robustdeq.testing.standing import check_standing
from robustdeq.testing.subject import registered_chains

OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from robustdeq.defenses.base import Card, Defense, Wrapper
from robustdeq.defenses.inference import NETWORK
from robustdeq.models.explicit import ExplicitClassifier

@dataclass(frozen=True)
class Mine({contract}):
    card: ClassVar = Card(title="Mine", citation="by hand")
{body}
"""


@pytest.fixture
def written(tmp_path):
    """Writes a lone file of one class with a body."""

    def write(body, contract="Wrapper"):
        path = tmp_path / "mine.py"
        path.write_text(OWN.format(contract=contract, body=textwrap.indent(body, "    ")))
        return path

    yield write
    sys.modules.pop("robustdeq_lone_files.mine", None)


@pytest.fixture
def check(written):
    """Checks such a file by the command."""
    return lambda *what: robustdeq("check", written(*what))


@pytest.fixture
def lone(written):
    """The class of such a file."""

    def load(body):
        ((kind, name),) = registry.load_file(written(body))
        return registry.find(kind, name)

    return load


STAGE = 'stage: ClassVar = "inference"\n'
HALVES = "return 0.5 * x + 0.25"

NAMES = {
    "a hook": (STAGE + f"def tranform(self, target, x, noise): {HALVES}", "'transform'"),
    "another hook": ("def craftt(self, target, batch, noise, memory): return batch.x", "'craft'"),
    "a shortened hook": ("def relax(self, target, x, noise): return x", "'relaxed'"),
    "a value": ('stagee: ClassVar = "inference"', "'stage'"),
    "a value that became a field": ('stagee: str = "inference"', "'stage'"),
    "a value without a type": ('adaptiv = ("truncated",)', "'adaptive'"),
    "the loop": ('loops: ClassVar = "federated"', "'loop'"),
}
SIGNATURES = {
    "no noise": (STAGE + f"def transform(self, target, x): {HALVES}", "(self, target, x, noise)"),
    "one too many": (
        "def craft(self, target, batch, noise, memory, more): return batch.x",
        "missing a required argument: 'more'",
    ),
}


IDLE = {
    "nothing": "",
    "a transform that returns its input": STAGE + "def transform(s, t, x, noise): return x",
    "a passing hook": STAGE
    + "def infer(self, target, x, noise): return self.base.infer(target, x, noise)",
    "a craft of its base's": "def craft(self, target, batch, noise, memory): return batch.x",
}


class TestNames:
    @pytest.mark.parametrize(("body", "nearest"), NAMES.values(), ids=NAMES)
    def test_a_name_that_is_nearly_one_of_the_contracts_is_told(self, lone, body, nearest):
        (said,) = misspelled(lone(body))
        assert f"did you mean {nearest}" in said

    def test_so_check_refuses_it(self, check):
        answer = check(NAMES["a hook"][0])
        assert answer.code == 2
        assert "has 'tranform', which nothing asks for; did you mean 'transform'" in answer.out

    @pytest.mark.parametrize(("body", "wanted"), SIGNATURES.values(), ids=SIGNATURES)
    def test_a_hook_that_does_not_take_what_it_is_handed_is_told(self, lone, body, wanted):
        (said,) = uncallable(lone(body))
        assert wanted in said

    def test_helpers_and_configuration_are_no_slips(self, lone):
        body = STAGE + textwrap.dedent(f"""
            stages: int = 3
            steps: int = 4
            transformation: str = "half"
            def transform(self, target, x, noise): {HALVES}
            def transformed(self, x): return x
            def halve(self, x): return x / 2
        """)
        assert [*misspelled(lone(body)), *uncallable(lone(body))] == []

    @pytest.mark.parametrize("kind", registry.CONTRACTS)
    def test_no_registered_plug_in_of_any_kind_is_told_of_a_slip(self, kind):
        for name in registry.names(kind):
            found = registry.find(kind, name)
            assert [*misspelled(found), *uncallable(found)] == []

    def test_an_attack_with_a_misspelled_attribute_is_told(self, tmp_path):
        path = tmp_path / "my_search.py"
        path.write_text(
            "from dataclasses import dataclass\n"
            "from robustdeq.attacks.base import Attack\n\n"
            "@dataclass(frozen=True)\n"
            "class MySearch(Attack):\n"
            "    needs_gradients = False\n"
            "    def run(self, search):\n"
            "        search.put_forward(search.samples.images)\n"
        )
        assert robustdeq("check", path).refuses("did you mean 'needs_gradient'")


class TestStanding:
    @pytest.mark.parametrize("body", IDLE.values(), ids=IDLE)
    def test_a_wrapper_that_changes_nothing_is_told(self, check, body):
        answer = check(body)
        assert answer.code == 2
        assert "answers and trains as vanilla does" in answer.out

    def test_an_act_at_inference_without_its_stage_is_told(self, check):
        answer = check(f"def transform(self, target, x, noise): {HALVES}")
        assert answer.code == 2
        assert 'add `stage: ClassVar = "inference"`' in answer.out

    def test_one_that_says_that_it_passes_through_is_believed(self, check):
        body = """
            inference: ClassVar = NETWORK
            stage: ClassVar = "inference"
            def infer(self, target, x, noise):
                answer = self.base.infer(target, x, noise)
                return replace(answer, logits=answer.logits)
        """
        answer = check(textwrap.dedent(body))
        assert answer.code == 0, answer.out

    def test_one_that_says_so_and_does_not_is_caught(self, check):
        body = """
            inference: ClassVar = NETWORK
            stage: ClassVar = "inference"
            def infer(self, target, x, noise):
                answer = self.base.infer(target, x, noise)
                return replace(answer, logits=-answer.logits)
        """
        answer = check(textwrap.dedent(body))
        assert answer.code == 2
        assert "through the surrogate `defended`" in answer.out

    def test_a_column_that_would_be_refused_is_noted(self, check):
        answer = check(STAGE + f"def transform(self, target, x, noise): {HALVES}")
        assert answer.code == 0
        assert "has no `unrolled`" in answer.out

    @pytest.mark.parametrize("chain", registered_chains())
    def test_every_registered_defense_stands(self, chain):
        assert [said for _, said in check_standing(Defense.from_text(chain)) if said] == []


NETWORK = """
def build(self, task):
    inject = nn.Sequential(nn.Flatten(), nn.Linear({pixels}, 16))
    return ExplicitClassifier(inject, nn.ReLU(), nn.Linear(16, 10))
"""


@pytest.mark.parametrize(("pixels", "shape"), [(64, "(1, 8, 8)"), (784, "(1, 28, 28)")])
def test_a_network_that_was_made_for_some_data_is_asked_on_its_task(check, pixels, shape):
    """It was asked for four classes, and its honest ten called a broken promise."""
    answer = check(NETWORK.format(pixels=pixels), "Defense")
    assert answer.code == 0, answer.out
    assert f"10 classes of images {shape}" in answer.out
