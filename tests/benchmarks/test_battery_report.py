"""The page of the battery: who is on it, and what counts as it should be."""

import pytest

from benchmarks.battery import HONEST, Subject, line, subjects
from robustdeq.testing.impostors import ZOO


def test_every_form_of_every_impostor_is_audited_and_ten_honest_entrants():
    listed = [(each.name, each.form, each.flag) for each in subjects("results")]
    dressed = [(each.name, form.name, form.flag) for each in ZOO for form in each.forms]
    assert listed == [*dressed, *((chain, f"seed {seed}", "") for chain, seed in HONEST)]
    assert len(HONEST) == 10


@pytest.mark.parametrize(
    ("wanted", "raised", "fine"),
    [
        ("memorized", ["memorized"], "yes"),
        ("memorized", ["zero-gradient"], "NO"),
        ("unconverged", ["zero-gradient", "unconverged"], "yes"),
        ("", [], "yes"),
        ("", ["several-equilibria"], "yes"),
        ("", ["memorized"], "NO"),
    ],
)
def test_an_impostor_raises_its_flag_and_an_honest_entrant_none_that_blocks(wanted, raised, fine):
    subject = Subject("entrant", "alone", wanted, lambda: pytest.fail("nothing is loaded"))
    row = line(subject, 0, {"clean": 1.0, "robust": 0.5, "flags": raised})
    assert row.endswith(f"| {fine} |")
