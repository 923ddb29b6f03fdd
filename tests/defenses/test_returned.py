"""A hook that returns something else than its contract says is told by chain and hook."""

import pytest
from commands import TINY, is_sentence, prepare, robustdeq, run

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from robustdeq.defenses.base import Card, Wrapper

@dataclass(frozen=True)
class Plain(Wrapper):
    card: ClassVar[Card] = Card(title="Plain", citation="by hand")
    stage: ClassVar[str] = "{stage}"

    def {hook}:
        return {value}
"""
ONE = '[[entrants]]\ndefense = "plain/explicit"\nrecipe = { epochs = 1 }\n'
CASES = [
    ("infer", "infer(self, target, x, noise)", "target.classifier.predict(x).logits",
     "a tensor of torch.float32 and shape (32, 10); expected a Prediction"),
    ("infer", "infer(self, target, x, noise)", "None", "None; expected a Prediction"),
    ("transform", "transform(self, target, x, noise)", "x.flatten(1)",
     "shape (32, 64); expected a floating-point tensor of shape (32, 1, 8, 8)"),
    ("transform", "transform(self, target, x, noise)", "None", "returns None; expected"),
    ("calibrate", "calibrate(self, target, held_out, noise)", "{'t': torch.ones(2)}",
     "expected a dict of texts, finite numbers and lists"),
    ("craft", "craft(self, target, batch, noise, memory)", "batch", "a Batch; expected"),
    ("objective", "objective(self, target, batch, x_adv, noise)", "x_adv.flatten(1).sum(1)",
     "expected a floating-point tensor of shape ()"),
    ("build", "build(self, task)", "torch.nn.Linear(2, 2)", "a Linear; expected a network"),
]  # fmt: skip


@pytest.mark.parametrize(("hook", "signature", "value", "said"), CASES)
def test_a_run_names_the_hook_and_what_it_returned(tmp_path, hook, signature, value, said):
    stage = "inference" if hook in ("infer", "transform") else "training"
    text = PLUGIN.format(stage=stage, hook=signature, value=value)
    (tmp_path / "plain.py").write_text(text)
    answer = run(prepare(tmp_path, TINY, ONE), "--plugin", tmp_path / "plain.py")
    assert answer.code == 3
    assert is_sentence(answer.err)
    assert f"plain/explicit: `{hook}` returns" in answer.err
    assert said in answer.err


def test_relaxed_is_held_to_logits_too(tmp_path):
    text = PLUGIN.format(stage="inference", hook="relaxed(self, target, x, noise)", value="x")
    text += (
        "\n    def infer(self, target, x, noise):\n        return target.classifier.predict(x)\n"
    )
    (tmp_path / "plain.py").write_text(text)
    answer = run(prepare(tmp_path, TINY, ONE), "--plugin", tmp_path / "plain.py")
    assert answer.code == 3
    assert "`relaxed` returns a tensor" in answer.err


def test_check_tells_one_reason_once(tmp_path):
    text = PLUGIN.format(stage="inference", hook=CASES[0][1], value="x")
    (tmp_path / "plain.py").write_text(text)
    answer = robustdeq("check", tmp_path / "plain.py")
    assert answer.code == 2
    assert answer.out.count("`infer` returns") == 1
    assert answer.out.count("for the same reason") >= 4
