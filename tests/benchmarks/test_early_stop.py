"""Stopping early: what is lost is read off the budgets, and a training is measured once."""

import pytest

from benchmarks import early_stop
from benchmarks.early_stop import BUDGETS, Plan


def test_the_page_says_who_loses_less(tmp_path, monkeypatch):
    def measure(entrant):
        lost = 0.5 if entrant.defense == early_stop.FREE else 0.25
        jitter = 0.001 * entrant.seed
        right = [0.9 - (lost + jitter) / steps for steps in BUDGETS[:-1]] + [0.9]
        return {"right": right, "residual": [1 / steps for steps in BUDGETS]}

    monkeypatch.setattr(early_stop, "measure", measure)
    page = early_stop.page(Plan(seeds=3, folder=tmp_path))
    assert "| penalty at every step: loses less than no penalty at 1 steps" in page
    assert "Of 16 claims: 16 appears." in page
    assert page.count("+25 to +25") == 2  # at one step, of both penalties
    assert page.count("+4.17 to +4.17") == 4  # at six, lost and left alike


@pytest.mark.slow
def test_more_steps_come_closer_to_an_equilibrium(tmp_path, monkeypatch):
    plan = Plan(seeds=1, epochs=1, folder=tmp_path)
    penalised = early_stop.NETWORKS["penalty at every step"]
    (figures,) = plan.figures(penalised)
    assert len(figures["right"]) == len(figures["residual"]) == len(BUDGETS)
    assert figures["residual"][0] > 10 * figures["residual"][-1]
    monkeypatch.setattr(early_stop, "measure", None)
    assert plan.figures(penalised) == [figures]
