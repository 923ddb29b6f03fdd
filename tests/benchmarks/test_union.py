"""The union against plain AutoAttack and brute force: read from records, and resumed."""

import pytest

pytest.importorskip("pyautoattack")

from benchmarks import union
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.notebook import load_model
from robustdeq.results.store.result_store import ResultStore

RESULTS = union.ROOT / "results"


@pytest.fixture(scope="module")
def case():
    """Six images and the committed explicit network."""
    protocol = load_protocol(union.PROTOCOL)
    test = protocol.load_data().test.take(6)
    target = load_model("explicit", RESULTS, union.PROTOCOL)
    return union.Case("explicit", target, test.images, test.labels, protocol.threat)


def test_the_union_is_that_of_the_committed_records():
    known = union.union(ResultStore(RESULTS), "explicit", 500)
    assert known.shape == (500,)
    assert known.mean() < 0.06


def test_an_entrant_without_records_is_named():
    with pytest.raises(SpecError, match="no records of nobody"):
        union.union(ResultStore(RESULTS), "nobody", 500)


def test_brute_force_breaks_what_has_no_robustness(case, monkeypatch):
    monkeypatch.setattr(union, "GRADIENTS", 80)
    monkeypatch.setattr(union, "ASCENT", 40)
    assert int(case.right(union.brute_force(case)).sum()) <= 1


def test_a_finished_chunk_is_not_attacked_again(case, tmp_path):
    seen = []

    def nothing(part):
        seen.append(len(part.x))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return part.x

    opponent = union.Opponent("nothing", nothing, at_once=4)
    with pytest.raises(KeyboardInterrupt):
        union.survivors(case, opponent, tmp_path)
    first = union.survivors(case, opponent, tmp_path)
    assert seen == [4, 2, 2]
    assert (first == case.right(case.x).numpy()).all()
    known = first.copy()
    known[:] = True
    assert union.line(case, known, opponent, tmp_path)[-2] == "none"
    assert len(seen) == 3
