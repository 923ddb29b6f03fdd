"""Every number that counts is computed in full float32, whatever the caller has set."""

import json
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from robustdeq.attacks.pgd import PGD
from robustdeq.audits.battery import examine
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.evaluation.bench import Bench, hardware
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.precision import full_precision, is_full
from robustdeq.testing.toys import TASK, tiny_deq, toy_data, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training.loops.base import train

LINF = Linf(Fraction(1, 8))
NEW = getattr(torch.backends, "fp32_precision", None) is not None
OPERATIONS = (
    (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,
        torch.backends.cudnn.rnn,
        torch.backends.mkldnn.matmul,
    )
    if NEW
    else ()
)


def settings():
    """What the caller can see, a refusal included."""
    seen = [operation.fp32_precision for operation in OPERATIONS]
    for read in (lambda: torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision):
        try:
            seen.append(read())
        except RuntimeError:
            seen.append("refused")
    return seen


def products(precision):
    torch.set_float32_matmul_precision(precision)


def everything(precision):
    torch.backends.fp32_precision = precision


CALLERS = {
    "torch's own settings": lambda: None,
    "TF32 for matrix products": lambda: products("high"),
    "bfloat16 for matrix products": lambda: products("medium"),
    "no TF32 anywhere": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "TF32 everywhere, by the new name": lambda: everything("tf32"),
}


@pytest.fixture(autouse=True)
def as_it_was():
    before = torch.backends.cudnn.allow_tf32, [op.fp32_precision for op in OPERATIONS]
    yield
    if NEW:
        torch.backends.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_float32_matmul_precision("highest")
    for operation, value in zip(OPERATIONS, before[1], strict=True):
        operation.fp32_precision = value


@full_precision()
def computed_in_full(function):
    assert {operation.fp32_precision for operation in OPERATIONS} <= {"ieee"}
    return function()


@pytest.mark.parametrize("caller", CALLERS)
def test_float32_is_float32_inside_and_the_caller_s_own_affair_outside(caller):
    if "new name" in caller and not NEW:
        pytest.skip("this torch has no such name")
    CALLERS[caller]()
    before = settings()
    assert computed_in_full(is_full)
    with pytest.raises(ZeroDivisionError):
        computed_in_full(lambda: 1 / 0)
    assert settings() == before


def test_a_library_may_read_the_old_names_inside():
    with full_precision():
        assert torch.backends.cudnn.allow_tf32 is False
        assert torch.backends.cuda.matmul.allow_tf32 is False
        assert torch.get_float32_matmul_precision() == "highest"


@dataclass(frozen=True)
class Watched(Wrapper):
    """Notes whether its hooks are called in full precision."""

    stage: ClassVar = "inference"
    card: ClassVar = Card("Watched", "none")
    seen: ClassVar[list[bool]] = []

    def transform(self, target, x, noise):
        self.seen.append(is_full())
        return x


@pytest.mark.parametrize("asked", ["trial", "audit", "judge", "training"])
def test_whoever_makes_a_number_makes_it_in_full(asked):
    products("high")
    Watched.seen.clear()
    defense, split = Watched(Vanilla(channels=8)), toy_images(4, TASK)
    target = DefendedModel(defense, tiny_deq(), {})
    if asked == "trial":
        column = Column("some", (Stage(PGD(steps=1)),), (0,))
        about = {"name": "toy-images", "digest": split.digest(), "n": len(split)}
        bench = Bench(lambda: target, "0" * 64, torch.device("cpu"))
        record, _ = evaluate(Trial(Entrant(defense), column, about, LINF), bench, split)
        assert record.provenance["precision"] == "full float32"
    elif asked == "audit":
        examine(lambda: target, split.samples(), LINF, audits=["logit-scale"])
    elif asked == "judge":
        Judge(target, 2)(split.samples())
    else:
        recipe = Recipe(LINF, epochs=1, batch_size=16, validate_every=1)
        train(Entrant(defense, recipe), toy_data(train=16), torch.device("cpu"))
    assert Watched.seen
    assert all(Watched.seen)
    assert not is_full()


def test_a_record_names_the_card_and_how_finely_it_computes(monkeypatch):
    card = SimpleNamespace(name="Pretend H200", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    with full_precision():
        facts = hardware(torch.device("cuda"))
    assert facts["card"] == "Pretend H200"
    assert (facts["device"], facts["capability"]) == ("cuda", "9.0")
    assert facts["precision"] == "full float32"
    assert json.loads(json.dumps(facts)) == facts
    assert hardware(torch.device("cpu")) == {"device": "cpu", "precision": "reduced float32"}


def test_torch_s_own_settings_are_not_full():
    assert not is_full()
