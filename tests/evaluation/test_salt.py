"""What inference is told of a sample: its pixels, and draws that only the trial's salt repeats."""

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import ClassVar

import pytest
import torch

from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.noise import NoiseStream
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build

DATA = toy_data(train=16, held_out=8, test=32)
N, ROWS = len(DATA.test), torch.arange(len(DATA.test))
A, B = "a" * 32, "b" * 32


@dataclass(frozen=True)
class Listening(Wrapper):
    """Keeps every question."""

    card: ClassVar[Card] = Card("Listening", "by hand")

    def infer(self, target, x, noise):
        _HEARD.append((x, noise))
        return self.base.infer(target, x, noise)


@dataclass(frozen=True)
class Noisy(Wrapper):
    card: ClassVar[Card] = Card("Noisy", "by hand")

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=answer.logits + 9 * noise.normal((TASK.classes,)))


_HEARD: list = []


def target(kind):
    defense = kind(Explicit())
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    return DefendedModel(defense, network, {})


def trial(kind, **bench):
    made = target(kind)
    column = Column("square", (Stage(Square(queries=3)),), (0,))
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
    place = Bench(lambda: made, "0" * 64, torch.device("cpu"), randomised=True, **bench)
    whole = Trial(Entrant(made.defense), column, data, Linf(Fraction(1, 8)))
    return evaluate(whole, place, DATA.test)


def test_inference_is_told_no_position_and_nothing_that_one_follows_from():
    noise = NoiseStream(0, A).child("judge").sealed(ROWS)
    assert [field.name for field in fields(noise)] == ["keys"]
    assert not {"rows", "stream", "seed", "salt"} & set(dir(noise))
    assert noise.keys.unique().numel() == N
    # What one mixing step hides another would show: undone, positions would be equally spaced.
    gaps = torch.stack([unmixed(noise.keys.tolist())[i] for i in range(N)]).diff()
    assert gaps.unique().numel() == N - 1


def unmixed(words):
    """SplitMix64's output function, undone."""
    mask = (1 << 64) - 1

    def undo(word, by, factor):
        word = (word * pow(factor, -1, 1 << 64)) & mask
        return word ^ (word >> by) ^ (word >> (2 * by)) ^ (word >> (3 * by))

    found = []
    for word in words:
        word &= mask
        word ^= (word >> 31) ^ (word >> 62)
        word = undo(word, 27, 0x94D049BB133111EB)
        word = undo(word, 30, 0xBF58476D1CE4E5B9)
        found.append(torch.tensor(word - (1 << 64) if word >= 1 << 63 else word))
    return found


def test_what_is_drawn_for_a_sample_depends_on_the_salt_and_not_on_its_batch():
    stream, order = NoiseStream(3, A).child("judge"), torch.randperm(N)
    whole = stream.sealed(ROWS).child("depth", 2).normal((2,), draw=1)
    again = stream.sealed(ROWS[order]).child("depth", 2).normal((2,), draw=1)
    assert torch.equal(whole[order], again)
    one = stream.sealed(ROWS[5:6]).child("depth", 2).normal((2,), draw=1)
    assert torch.equal(whole[5:6], one)
    for other in (NoiseStream(3, B).child("judge"), NoiseStream(3, A).child("confirm")):
        assert not torch.equal(other.sealed(ROWS).child("depth", 2).normal((2,), draw=1), whole)
    assert not torch.equal(stream.sealed(ROWS).uniform(), stream.sealed(ROWS).child("a").uniform())


def test_an_attackers_own_draws_do_not_depend_on_the_salt():
    drawn = [NoiseStream(3, salt).child("attack", 0).normal(ROWS, 0, (4,)) for salt in ("", A, B)]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_the_judge_asks_in_an_order_that_only_its_salt_tells():
    orders = []
    for salt in (A, A, B):
        _HEARD.clear()
        Judge(target(Listening), 8, salt=salt)(DATA.test.samples())
        asked = torch.cat([x for x, _ in _HEARD])[:N].flatten(1)  # the first pass
        orders.append(torch.cdist(asked, DATA.test.images.flatten(1)).argmin(1))
        assert torch.equal(orders[-1].sort().values, ROWS)
        assert not torch.equal(orders[-1], ROWS)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_a_record_keeps_its_salt_and_is_repeated_with_it_bitwise():
    first, tables = trial(Noisy)
    again, repeated = trial(Noisy, salt=first.salt)
    other, drawn = trial(Noisy)
    assert len(first.salt) == 32
    assert (first.salt, first.trial) == (again.salt, again.trial)
    assert repeated["samples"].equals(tables["samples"])
    assert other.salt != first.salt
    assert other.trial == first.trial
    assert not drawn["samples"].equals(tables["samples"])


@dataclass(frozen=True)
class ByPosition(Wrapper):
    """Knows the labels of the test images by heart, in their order."""

    card: ClassVar[Card] = Card("By position", "by hand")

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        at = getattr(noise, "rows", torch.arange(len(x)))
        return replace(answer, logits=torch.eye(TASK.classes)[DATA.test.labels[at]])


def test_labels_known_by_position_are_worth_no_more_than_chance():
    record, _ = trial(ByPosition)
    assert record.clean < 0.6
    assert record.robust < 0.6


@pytest.mark.parametrize("salt", ["", A, B])
def test_what_a_deterministic_entrant_keeps_does_not_depend_on_the_salt(salt):
    def plain(given):
        made = target(Listening)
        column = Column("square", (Stage(Square(queries=3)),), (0,))
        data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
        bench = Bench(lambda: made, "0" * 64, torch.device("cpu"), salt=given)
        return evaluate(
            Trial(Entrant(made.defense), column, data, Linf(Fraction(1, 8))), bench, DATA.test
        )[1]["samples"]

    assert plain(salt).equals(plain("0" * 32))
