"""Randomised defenses: chosen by many draws, and counted over others."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import torch

from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.entrant import Entrant
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import FRESH, SELECTION, Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.evaluation.union import strongest
from robustdeq.results import ResultStore, compare, leaderboard
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build

DATA = toy_data(train=16, held_out=8, test=16)
N, LINF = len(DATA.test), Linf(Fraction(1, 8))


@dataclass(frozen=True)
class Coin(Wrapper):
    """Answers with the label of the nearest test image, and denies it in a share of draws."""

    card: ClassVar[Card] = Card("Coin", "by hand")
    denied: float = 0.3

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        known = torch.cdist(x.flatten(1), DATA.test.images.flatten(1)).argmin(1)
        truth = torch.nn.functional.one_hot(DATA.test.labels[known], TASK.classes).float()
        denied = noise.uniform() < self.denied
        return replace(answer, logits=torch.where(denied[:, None], -truth, truth))


def trial(denied, randomised=True, seeds=(0,)):
    defense = Coin(Explicit(), denied)
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    target = DefendedModel(defense, network, {})
    column = Column("square", (Stage(Square(queries=3)),), seeds)
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
    bench = Bench(
        lambda: target, f"{int(1000 * denied):064x}", torch.device("cpu"), randomised=randomised
    )
    return evaluate(Trial(Entrant(defense), column, data, LINF), bench, DATA.test)


def test_the_figure_is_the_share_of_fresh_draws_that_are_right():
    record, tables = trial(0.3)
    survival = tables["samples"]["survival"].to_numpy()
    assert record.robust == pytest.approx(survival.mean())
    assert abs(record.robust - 0.7) < 4 * np.sqrt(0.21 / (N * FRESH))
    # Some images were lost in the judge's one draw, and their share is not 0 for that.
    assert not tables["samples"]["robust"].to_numpy().all()
    assert survival.min() > 0.4


def test_the_worst_seed_counts_image_by_image():
    record, tables = trial(0.3, seeds=(0, 1))
    shares = tables["samples"]["survival"].to_numpy().reshape(2, N)
    assert record.robust == pytest.approx(shares.min(0).mean())
    assert record.seeds == pytest.approx({"0": shares[0].mean(), "1": shares[1].mean()})


def test_what_chooses_and_what_counts_are_other_draws():
    defense = Coin(Explicit(), 0.5)
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    judge = Judge(DefendedModel(defense, network, {}), 8, randomised=True)
    samples = DATA.test.samples()
    chosen = judge.harm(samples)
    assert torch.equal(chosen, judge.harm(samples))
    assert torch.equal(chosen, -judge.share(samples, SELECTION, "selection"))
    assert not torch.equal(-chosen, judge.share(samples, SELECTION, "fresh"))


def test_an_image_that_one_draw_gets_wrong_is_attacked_all_the_same():
    defense = Coin(Explicit(), 0.5)
    network = build(Entrant(defense), TASK).eval().requires_grad_(False)
    target = DefendedModel(defense, network, {})
    samples = DATA.test.samples()
    one, many = Judge(target, 8, randomised=False), Judge(target, 8, randomised=True)
    assert not one.attackable(samples).all()
    assert many.attackable(samples).all()
    found = strongest((Stage(Square(queries=3)),), target, many, samples, LINF)
    assert found.standing.all()  # half of the draws stay right whatever the image
    assert torch.equal(-found.damage, many.share(samples.moved(found.x), SELECTION, "selection"))


def test_answers_that_are_not_random_have_no_survival():
    record, tables = trial(0.0, randomised=False)
    assert "survival" not in tables["samples"].column_names
    assert record.robust == tables["samples"]["robust"].to_numpy().mean()


def test_a_board_and_a_comparison_read_the_shares(tmp_path):
    store, figures = ResultStore(tmp_path), []
    for denied in (0.1, 0.6):
        record, tables = trial(denied)
        store.append(record, tables)
        figures.append(record.robust)
    store.write_protocol(
        "tiny-v1",
        {"name": "tiny-v1", "data": record.data, "threat": record.threat, "training_seeds": [0],
         "columns": [record.column]},
    )  # fmt: skip
    standings = leaderboard(store, "tiny-v1")
    assert [s.robust for s in standings] == pytest.approx(figures)
    better, worse = (s.entrant for s in standings)
    found = compare(store, "tiny-v1", better, worse)
    assert found.difference == pytest.approx(max(figures) - min(figures))
    assert found.p < 1e-3
    assert "paired t test" in found.method
