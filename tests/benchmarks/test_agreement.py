"""Verdicts and batches: the runs that are compared differ in what they say they differ."""

import torch

from benchmarks import agreement
from benchmarks.agreement import ATTACKS, PART, Case
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.notebook import load_model


def test_batch_and_order_leave_the_verdicts_alone_and_a_seed_need_not():
    protocol = load_protocol(agreement.PROTOCOL)
    test = protocol.load_data().test.take(12)
    target = load_model("explicit", agreement.ROOT / "results", agreement.PROTOCOL)
    case = Case(target, test, protocol.threat)
    attack, view = ATTACKS["Square-200"]
    order = torch.arange(12)
    first = case.right(attack, view, order, 12)
    assert torch.equal(first, case.right(attack, view, order, 5))
    assert torch.equal(first, case.right(attack, view, order.flip(0), 12))
    assert PART < agreement.WHOLE


def test_a_line_has_a_cell_for_each_column(monkeypatch):
    protocol = load_protocol(agreement.PROTOCOL)
    test = protocol.load_data().test.take(4)
    target = load_model("explicit", agreement.ROOT / "results", agreement.PROTOCOL)
    cells = agreement.line("explicit", "PGD-20", Case(target, test, protocol.threat))
    assert len(cells) == len(agreement.HEADER)
    assert all(0 <= float(cell) <= 100 for cell in cells[2:])
