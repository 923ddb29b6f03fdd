"""The battery: every audit once, what it raises twice, and one verdict."""

from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from conftest import DATA
from planted import Coin, Detached, Scaled, Shifting, flipped, wrapped

from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.audits import battery, black_box, outsiders
from robustdeq.audits.base import Audit, Measure
from robustdeq.audits.battery import examine
from robustdeq.audits.gradient import Gradient
from robustdeq.audits.logit_scale import LogitScale
from robustdeq.errors import StoreError, UnknownName
from robustdeq.evaluation.column import Stage
from robustdeq.results.store.draft import Draft
from robustdeq.testing.impostors.query_memory import NEAR, QUERY_MEMORY
from robustdeq.threats.linf import Linf

LINF, WIDE = Linf(Fraction(1, 8)), Linf(Fraction(1, 2))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    white, black = (Stage(PGD(steps=4)),), (Stage(Square(queries=20)),)
    monkeypatch.setattr("robustdeq.audits.outsiders.white_box", lambda target, randomised: white)
    monkeypatch.setattr("robustdeq.audits.outsiders.every_target", lambda target: ())
    monkeypatch.setattr("robustdeq.audits.black_box.black_box", lambda: black)


def run(target, *audits, draft=None, threat=LINF, images=12):
    samples = DATA.test.samples().first(images)
    return examine(lambda: target, samples, threat, audits=audits, draft=draft)


def search(target, *audits, draft=None):
    """An audit that a search without gradients must win, with images enough that chance cannot."""
    return run(target, *audits, draft=draft, threat=WIDE, images=32)


@dataclass(frozen=True)
class Told(Audit):
    """Raises what it is told to, under the seeds that it is told."""

    seeds: tuple[int, ...] = ()
    p: float | None = None
    flag: str = "gradient-misaligned"

    def examine(self, case):
        up = case.seed in self.seeds
        return [Measure(self.flag, float(up), 0.5, up, "told so", self.p)]


def told(monkeypatch, *audits):
    plan = {f"told-{number}": lambda audit=audit: audit for number, audit in enumerate(audits)}
    monkeypatch.setattr(battery, "find", lambda kind, name: plan[name])
    return tuple(plan)


def test_an_honest_network_raises_nothing_and_has_its_figures(honest):
    report = run(honest, "gradient", "logit-scale")
    assert report.flags == []
    assert {line.outcome for line in report.lines} == {"passed"}
    right = honest.classifier.predict(DATA.test.images[:12]).labels == DATA.test.labels[:12]
    assert (report.n, report.clean) == (12, right.double().mean().item())
    assert 0 <= report.robust <= report.clean


def test_what_appears_under_one_seed_only_is_unstable_and_not_raised(honest, monkeypatch):
    names = told(monkeypatch, Told((0,)), Told((0, 1)), Told(()))
    report = run(honest, *names)
    assert [line.outcome for line in report.lines] == ["unstable", "raised", "passed"]
    assert report.flags == ["gradient-misaligned"]


def test_chance_is_ruled_out_over_the_whole_battery(honest, monkeypatch):
    """p = 0.004 counts alone and not as one of three: Holm makes it 0.012 and 0.008."""
    alone = run(honest, *told(monkeypatch, Told((0, 1), 0.004)))
    assert alone.flags == ["gradient-misaligned"]
    three = (Told((0, 1), 0.004), Told((), 0.9), Told((), 1.0))
    assert run(honest, *told(monkeypatch, *three)).flags == []


def test_a_wrong_gradient_is_raised_by_the_audit_that_looks_for_it(honest):
    assert "gradient-misaligned" in run(flipped(honest), "gradient").flags


def test_a_missing_gradient_stops_nothing(honest):
    report = run(wrapped(Detached, honest), "gradient", "black-box")
    assert {"missing-gradient", "gradient-misaligned"} <= set(report.flags)


def test_a_randomised_defense_is_attacked_as_one(honest, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "robustdeq.audits.outsiders.white_box",
        lambda target, randomised: seen.append(randomised) or (Stage(PGD(steps=2)),),
    )
    assert "randomised" in run(wrapped(Shifting, honest), "logit-scale").flags
    assert seen == [True]


def test_a_memory_of_earlier_questions_saves_nothing(honest):
    """The checks ask about the clean images, and a judge that kept their answers gave them back."""
    samples = DATA.test.samples().first(12)
    wide, (dressed, _) = Linf(Fraction(NEAR)), (form.make for form in QUERY_MEMORY.forms)
    report = examine(lambda: dressed(honest), samples, wide, audits=("logit-scale",))
    assert "stateful" in report.flags
    bare = examine(lambda: honest, samples, wide, audits=("logit-scale",))
    assert report.robust == bare.robust < report.clean


def test_a_coin_that_one_draw_loses_is_counted_by_its_share(honest):
    """It answers another class in a quarter of the draws, whatever anybody attacks."""
    report = run(wrapped(Coin, honest), "logit-scale", "noise", threat=Linf(Fraction(1, 10**6)))
    assert "randomised" in report.flags
    assert "noise-beats-attack" not in report.flags
    assert report.robust == pytest.approx(0.75 * run(honest).clean, abs=0.05)


def test_what_the_clean_rows_say_is_said_once(honest):
    """A solver of one step converges nowhere; nothing was judged here but the clean images."""
    own = honest.classifier
    short = replace(honest, classifier=own.replaced(solver=replace(own.solver, max_steps=1)))
    lines = [line for line in run(short, "logit-scale").lines if line.flag == "unconverged"]
    assert [line.detail for line in lines] == ["0.0% of clean rows converged"]


def test_what_does_not_apply_says_why(honest):
    (line,) = run(wrapped(Scaled, honest), "equilibria").lines
    assert line.outcome == "not applicable"
    assert "own `infer`" in line.detail


def test_an_audit_that_nobody_wrote_is_named(honest):
    with pytest.raises(UnknownName, match="gradient"):
        run(honest, "gradients")


def test_an_interrupted_one_goes_on_and_ends_as_if_nothing_had_happened(
    honest, monkeypatch, tmp_path
):
    target, audits = flipped(honest), ("gradient", "logit-scale")
    whole, path = run(target, *audits), tmp_path / "unfinished" / "audit.json"

    def interrupted(audit, case):
        raise KeyboardInterrupt

    def only_repeated(audit, case):
        assert case.seed == 1, "it was finished under seed 0"
        return examine_gradient(audit, case)

    with monkeypatch.context() as patched:
        patched.setattr(LogitScale, "examine", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(target, *audits, draft=Draft(path))
    examine_gradient = Gradient.examine
    monkeypatch.setattr(Gradient, "examine", only_repeated)
    monkeypatch.setattr(outsiders, "remaining", None)
    assert run(target, *audits, draft=Draft(path)) == whole
    Draft(path).discard()
    assert not path.exists()


def test_what_two_audits_ask_of_the_union_it_is_asked_once(honest, monkeypatch):
    asked, attack = [], outsiders.remaining

    def counted(case, stages, attacked=None, rerun=0):
        asked.append((case.seed, rerun))
        return attack(case, stages, attacked, rerun)

    monkeypatch.setattr(outsiders, "remaining", counted)
    report = search(flipped(honest), "black-box", "noise")
    assert "black-box-beats-white-box" in report.flags
    assert sum("another seed of the union" in line.detail for line in report.lines) == 2
    assert sorted(asked) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_an_interrupted_search_is_not_searched_again(honest, monkeypatch, tmp_path):
    target, path = flipped(honest), tmp_path / "audit.json"
    whole = search(target, "black-box")

    def interrupted(case):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(outsiders, "survivors_again", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(target, "black-box", draft=Draft(path))
    attack, seeds = black_box.remaining, []

    def other_seeds_alone(case, stages, attacked):
        seeds.append(case.seed)
        return attack(case, stages, attacked)

    monkeypatch.setattr(black_box, "remaining", other_seeds_alone)
    assert search(target, "black-box", draft=Draft(path)) == whole
    assert seeds == [1, 1]  # at a glance, and whole


def test_a_damaged_draft_is_named(honest, tmp_path):
    path = tmp_path / "audit.json"
    path.write_text("{")
    with pytest.raises(StoreError, match=r"audit\.json is damaged .*; delete it and run"):
        run(honest, draft=Draft(path))
