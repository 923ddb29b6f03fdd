"""Bytes to a target: counted up to the first round that reaches it, and not beyond."""

from benchmarks import federated
from benchmarks.federated import Plan, contenders, kilobytes, parameters, rounds_to
from robustdeq.results.text import NONE


def log(*robust, size=500):
    return [
        {"round": number + 1, "robust": value, "clean": 0.9, "effective_clients": 4.0,
         "bytes_up": size, "bytes_down": size}
        for number, value in enumerate(robust)
    ]  # fmt: skip


def test_the_target_counts_when_it_is_first_reached():
    dips = log(0.2, 0.5, 0.3, 0.6)
    assert rounds_to(dips) == 2
    assert kilobytes(dips, 2) == 2.0
    assert kilobytes(dips) == 4.0
    assert rounds_to(log(0.2, 0.4)) is None


def test_a_network_that_fails_under_one_seed_has_no_figure(monkeypatch):
    logs = {0: log(0.6), 1: log(0.1)}
    monkeypatch.setattr(Plan, "_log", lambda plan, entrant: logs[entrant.seed])
    page = federated.page(Plan(seeds=2))
    cells = [cell.strip() for cell in page.splitlines()[13].split("|")[1:-1]]
    assert cells[:2] == ["stock DEQ", "fedavg"]
    assert cells[4:7] == ["1", "1, -", NONE]
    assert "under every seed: none of them." in page


def test_explicit_clients_have_no_solver_to_cut_and_widths_grow():
    sizes = {name: parameters(defense) for name, defense in contenders()}
    assert sizes["stock DEQ"] == 23_978
    assert sizes["explicit, 24 channels"] == 25_162
    widths = [size for name, size in sizes.items() if name.startswith("explicit")]
    assert widths == sorted(widths)


def test_a_round_of_an_explicit_network_is_trained_logged_and_kept(tmp_path, monkeypatch):
    plan = Plan(seeds=1, epochs=1, rounds=1, folder=tmp_path)
    defense = dict(contenders())["explicit, 8 channels"]
    (found,) = plan.logs(defense)
    assert [row["round"] for row in found] == [1]
    floats = parameters(defense)
    assert found[0]["bytes_up"] == found[0]["bytes_down"] >= 4 * 4 * floats
    monkeypatch.setattr(federated, "train", None)
    assert plan.logs(defense) == [found]
