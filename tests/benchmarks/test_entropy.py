"""Entropy reduction and its controls: what the page says, and that the updates do what they say."""

import pytest

from benchmarks import entropy
from benchmarks.entropy import CONTROL, DEFENSE, FIELDS, INPUTS, Plan


def test_the_page_says_what_falls_and_what_is_won(tmp_path, monkeypatch):
    def measure(self, seed):
        nats = {CONTROL: 1.0, DEFENSE: 0.5, "random signs": 1.0, "raise": 1.5}
        right = {INPUTS[0]: 0.9, INPUTS[1]: 0.8, INPUTS[2]: 0.5}
        return {
            inputs: {
                name: {
                    "entropy": nats[name] + 0.01 * seed * (name != CONTROL),
                    "right": right[inputs] if name == DEFENSE else 0.6,
                }
                for name in FIELDS
            }
            for inputs in INPUTS
        }

    monkeypatch.setattr(Plan, "measure", measure)
    page = entropy.page(Plan(seeds=3, folder=tmp_path))
    assert "Of 6 claims: 5 appears, 1 reversed." in page
    (static,) = (
        line for line in page.splitlines() if "points above no updates, made for the b" in line
    )
    assert "+20" in static
    (adaptive,) = (
        line for line in page.splitlines() if "points above no updates, made for it" in line
    )
    assert "-10" in adaptive
    assert adaptive.endswith("| reversed |")


@pytest.mark.slow
def test_on_the_committed_network_updates_move_the_entropy_the_way_they_are_told(tmp_path):
    found = Plan(images=4, folder=tmp_path).measure(0)
    for inputs in INPUTS[:2]:
        figures = {name: each["entropy"] for name, each in found[inputs].items()}
        assert figures[DEFENSE] < figures[CONTROL] < figures["raise"]
