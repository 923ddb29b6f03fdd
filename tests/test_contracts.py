"""Every shipped defense keeps its contract; every promise catches the defense that breaks it."""

import sys
import textwrap

import pytest

from robustdeq import registry
from robustdeq.defenses.base import Defense
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.testing.contracts import DefenseContract, check_defense
from robustdeq.testing.subject import registered_chains

# A wrapper whose inference is its base's; what a bad defense does is put below it.
HONEST = """
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Planted(Wrapper):
    card: ClassVar[Card] = Card(title="Planted", citation="by hand")
"""


@pytest.fixture
def planted(tmp_path):
    """Writes a lone file of HONEST and a body, and gives the defense around `explicit`."""

    def load(body="", source=HONEST):
        path = tmp_path / "planted.py"
        path.write_text(source + textwrap.indent(textwrap.dedent(body), "    "))
        registry.load_file(path)
        return Defense.from_text("planted/explicit")

    yield load
    sys.modules.pop("robustdeq_lone_files.planted", None)


def broken(defense):
    """The complaints, by the first words of the promise they are about."""
    return {promise: text for promise, text in check_defense(defense) if text is not None}


class TestVanilla(DefenseContract):
    """A third party's test file: this, and its own defense in the place of Vanilla."""

    defense = Vanilla()


@pytest.mark.parametrize("chain", [c for c in registered_chains() if c != "vanilla"])
def test_every_registered_defense_keeps_every_promise(chain):
    assert broken(Defense.from_text(chain)) == {}


def test_a_lone_file_that_overrides_nothing_keeps_every_promise(planted):
    assert broken(planted()) == {}


STATEFUL = """
def infer(self, target, x, noise):
    calls = getattr(target.classifier, "calls", 0) + 1
    target.classifier.calls = calls
    answer = target.classifier.predict(x)
    return replace(answer, logits=answer.logits * calls)
"""

BATCH_COUPLED = """
def infer(self, target, x, noise):
    answer = target.classifier.predict(x)
    return replace(answer, logits=answer.logits - answer.logits.mean(0))

def relaxed(self, target, x, noise):
    logits = target.classifier(x)
    return logits - logits.mean(0)
"""

DETACHED = """
def relaxed(self, target, x, noise):
    return target.classifier(x.detach())
"""

DEAD = """
def relaxed(self, target, x, noise):
    return target.classifier(x.detach()) + 0 * x.sum()
"""

MODE_FLIPPER = """
def infer(self, target, x, noise):
    target.classifier.train()
    return target.classifier.predict(x)
"""

THAWED = """
def infer(self, target, x, noise):
    target.classifier.requires_grad_(True)
    return target.classifier.predict(x)
"""

RANDOM = """
def infer(self, target, x, noise):
    answer = target.classifier.predict(x)
    return replace(answer, logits=answer.logits * (1 + torch.rand(())))

def relaxed(self, target, x, noise):
    return target.classifier(x) * (1 + torch.rand(()))
"""

OUTSIDE = """
def craft(self, target, batch, noise, memory):
    return batch.x + float(batch.threat.eps)
"""

BALL_ONLY = """
def craft(self, target, batch, noise, memory):
    return batch.x - (2.0 if batch.threat.plugin_name() == "l2" else 0.0) * batch.x
"""

CLIMBS = """
def objective(self, target, batch, x_adv, noise):
    loss = self.base.objective(target, batch, x_adv, noise)
    return 2 * loss.detach() - loss
"""

FLAT = """
def objective(self, target, batch, x_adv, noise):
    weights = next(target.classifier.parameters())
    return 0 * weights.sum() + 1
"""

TENSOR = """
def calibrate(self, target, held_out, noise):
    return {"threshold": held_out.x.mean()}
"""

SHORT_COUNTER = """
def infer(self, target, x, noise):
    answer = target.classifier.predict(x)
    return replace(answer, nfe=answer.nfe.int())
"""

PLANTED = {
    "stateful": (STATEFUL, "calls before it", "asked again, the logits of 16 of 16 images"),
    "batch-coupled": (BATCH_COUPLED, "share its batch", "read row i of the input alone"),
    "detached": (DETACHED, "reaches the input", "missing-gradient"),
    "dead": (DEAD, "reaches the input", "zero-gradient: 100.0% of the clean images"),
    "mode": (MODE_FLIPPER, "leave modes", "changed the training mode of a module"),
    "thawed": (THAWED, "leave modes", "changed the requires_grad of a parameter"),
    "random": (RANDOM, "leave modes", "changed the global random state"),
    "outside": (OUTSIDE, "images in [0, 1]", "against linf a training input leaves [0, 1] by 0."),
    "ball-only": (BALL_ONLY, "images in [0, 1]", "against l2 a training input leaves [0, 1] by 1"),
    "climbs": (CLIMBS, "lower its training loss", "check the sign of every term"),
    "tensor": (TENSOR, "calibration is plain", "Tensor is not JSON"),
    "counter": (SHORT_COUNTER, "accounts for every row", "`nfe` of a prediction is torch.int32"),
}


@pytest.mark.parametrize(("body", "promise", "complaint"), PLANTED.values(), ids=PLANTED)
def test_a_bad_defense_breaks_the_promise_meant_and_no_other(planted, body, promise, complaint):
    ((text, said),) = broken(planted(body)).items()
    assert promise in text
    assert complaint in said


def test_a_stand_in_with_other_values_is_caught_in_both_places(planted):
    found = broken(planted("def relaxed(self, target, x, noise): return -target.classifier(x)"))
    assert len(found) == 2
    assert all("of their spread; expected at most 1e-05" in said for said in found.values())


def test_a_loss_that_trains_nothing_breaks_both_promises_about_training(planted):
    gradient, loss = broken(planted(FLAT)).values()
    assert "0 of 22 parameters get a gradient" in gradient
    assert "went from 1 to 1" in loss


@pytest.mark.parametrize("card", ["", 'card = Card(title=" ", citation="by hand")'])
def test_a_defense_without_a_source_is_caught(planted, card):
    lines = [line for line in HONEST.splitlines() if "card:" not in line]
    ((_, said),) = broken(planted(f"{card}\nnothing = 0", "\n".join([*lines, ""]))).items()
    assert "expected a title and a citation: give the class" in said


def test_a_defense_that_is_no_dataclass_is_told_how_to_become_one(planted):
    plain = HONEST.replace("@dataclass(frozen=True)\n", "")
    ((_, said),) = broken(planted(source=plain)).items()
    assert "decorate it with @dataclass(frozen=True)" in said


def test_an_exception_is_a_complaint_that_names_the_line_in_the_users_file(planted):
    body = """
    def infer(self, target, x, noise):
        return target.calibration["threshold"]
    """
    found = broken(planted(body))
    line = len(HONEST.splitlines()) + 3
    assert len(found) > 1
    said, *again = found.values()
    assert set(again) == {"for the same reason"}
    assert said.startswith("KeyError: 'threshold'; expected an answer: mend ")
    assert said.endswith(f"planted.py, line {line}")


def test_without_a_network_the_promises_about_it_are_left_out(planted):
    asked = list(check_defense(planted("def build(self, task): raise OSError('no weights')")))
    assert len(asked) == 3
    assert [said is None for _, said in asked] == [True, True, False]
    assert "OSError: no weights" in str(asked[-1][1])


def test_a_fresh_network_that_answers_nan_is_caught(planted):
    body = """
    def build(self, task):
        network = self.base.build(task)
        next(network.parameters()).data.fill_(torch.nan)
        return network
    """
    _, said = list(check_defense(planted(body)))[-1]
    assert said is not None
    assert "expected logits whose largest is finite" in said


def test_a_randomised_defense_that_draws_from_its_noise_keeps_every_promise(planted):
    body = """
    def transform(self, target, x, noise):
        return x + 0.05 * noise.normal(tuple(x.shape[1:])).to(x)
    """
    assert broken(planted(body)) == {}


def test_training_inputs_outside_the_threat_set_are_a_defense_like_another(planted):
    body = """
    def craft(self, target, batch, noise, memory):
        return (batch.x + 0.5 * noise.normal(tuple(batch.x.shape[1:])).to(batch.x)).clamp(0, 1)
    """
    assert broken(planted(body)) == {}


def test_a_training_input_that_is_not_a_number_is_caught(planted):
    body = """
    def craft(self, target, batch, noise, memory):
        return batch.x * torch.nan
    """
    said = broken(planted(body))["Its training inputs are images in [0, 1]."]
    assert "leaves [0, 1] by nan" in said
