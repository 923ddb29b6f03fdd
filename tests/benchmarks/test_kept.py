"""Figures on disk: measured once, and told apart by the weights they belong to."""

import copy

import torch
from torch import nn

from benchmarks.kept import fingerprint, kept


def test_a_figure_is_measured_once(tmp_path):
    asked = []

    def measure():
        asked.append(1)
        return {"right": [1.0, 0.0]}

    path = tmp_path / "folder" / "figure.json"
    assert kept(path, measure) == kept(path, measure) == {"right": [1.0, 0.0]}
    assert len(asked) == 1


def test_one_changed_weight_is_another_network():
    network = nn.Linear(3, 2)
    twin = copy.deepcopy(network)
    assert fingerprint(twin) == fingerprint(network)
    with torch.no_grad():
        twin.weight[1, 2] += 1e-3
    assert fingerprint(twin) != fingerprint(network)
