"""Jobs of a matrix: what follows from what, and who trains what."""

import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import pytest

from robustdeq.engines.local import Place, run_jobs
from robustdeq.engines.matrix import fill
from robustdeq.engines.outcome import Outcome
from robustdeq.engines.pools import Job, Pool
from robustdeq.engines.row import Row
from robustdeq.engines.training import by_id, trainings
from robustdeq.entrant import Entrant
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.progress import PLAIN
from robustdeq.spec import decode

PROTOCOL = load_protocol("digits-linf-v2")
DATA = PROTOCOL.load_data()
HERE = Place("cpu", workers=1)


def entrant(chain, seed=0):
    return PROTOCOL.entered(decode(Entrant, {"defense": chain, "seed": seed}), DATA)


def test_what_follows_a_job_is_run_before_what_waits():
    said = []

    @dataclass(frozen=True)
    class Named(Job):
        name: str

        @property
        def title(self):
            return self.name

        def run(self, display):
            said.append(self.title)
            return Outcome((), ((self.title, ""),))

    job = Named
    following = {"first": [job("first's one"), job("first's two")]}
    jobs = [job("first"), job("second")]
    outcomes = run_jobs(jobs, HERE, lambda done: following.get(done.failures[0][0], []))
    assert said == ["first", "first's one", "first's two", "second"]
    assert [outcome.failures[0][0] for outcome in outcomes] == said


def test_no_worker_outlives_its_jobs():
    """A watched command waited at its end for workers that it had stopped talking to."""
    jobs = trainings({"": entrant("explicit")}, PROTOCOL, Path("no such folder"), "no device")
    before = set(multiprocessing.active_children())
    outcomes = run_jobs(jobs, Place("cpu", workers=2), lambda done: ())
    assert set(multiprocessing.active_children()) == before
    assert [len(outcome.failures) for outcome in outcomes] == [1]


def test_entrants_of_the_same_weights_are_one_training():
    chains = ("early-state/vanilla", "vanilla", "state-ensemble/vanilla", "explicit")
    entrants = [*map(entrant, chains), entrant("vanilla"), entrant("vanilla", seed=1)]
    jobs = trainings(by_id(entrants), PROTOCOL, Path("results"), "cpu")
    found = [[(e.chain, e.seed) for e in job.entrants] for job in jobs]
    assert found == [
        [("early-state/vanilla", 0), ("vanilla", 0), ("state-ensemble/vanilla", 0)],
        [("explicit", 0)],
        [("vanilla", 1)],
    ]


def test_a_source_that_cannot_be_trained_stops_the_matrix_before_any_attack(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise ValueError("no")

    monkeypatch.setattr("robustdeq.engines.training.ensure_trained", refuse)
    row = Row(PROTOCOL, entrant("explicit"), tmp_path, "cpu")
    outcomes = fill([row], 500, HERE, pytest.fail)
    names = [what for outcome in outcomes for what, _ in outcome.failures]
    assert names == [f"train {source.chain}" for source in PROTOCOL.sources(DATA)]


def test_a_row_whose_training_fails_is_not_attacked(tmp_path, monkeypatch):
    def refuse(store, one, *arguments):
        if one.seed != 100:  # the sources'
            raise ValueError("no")

    monkeypatch.setattr("robustdeq.engines.training.ensure_trained", refuse)
    row = Row(PROTOCOL, entrant("explicit"), tmp_path, "cpu")
    outcomes = fill([row], 500, HERE, pytest.fail)
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    assert failures == [("train explicit", "ValueError: no")]


@pytest.mark.parametrize(
    ("defense", "reason"),
    [
        ("state-ensemble/explicit", "an equilibrium network"),
        ({"name": "early-state", "base": "vanilla", "state": 999}, "999"),
        (
            {"name": "federated", "clients": 5000, "budgets": (),
             "base": "adversarial-training/vanilla"},
            "5000 clients for",
        ),
    ],
)  # fmt: skip
def test_a_row_that_could_never_be_trained_is_told_before_anything_is(
    defense, reason, tmp_path, monkeypatch
):
    trained = []

    def train(store, one, *arguments):
        trained.append(one)
        raise ValueError("no")

    monkeypatch.setattr("robustdeq.engines.training.ensure_trained", train)
    bad, good = (Row(PROTOCOL, entrant(each), tmp_path, "cpu")
                 for each in (defense, "explicit"))  # fmt: skip
    (refused,) = fill([bad], 500, HERE, pytest.fail)
    assert reason in refused.failures[0][1]
    assert not trained
    outcomes = fill([bad, good], 500, HERE, pytest.fail)
    assert outcomes[0] == refused
    assert [one.chain for one in trained] == [source.chain for source in PROTOCOL.sources(DATA)]


@dataclass(frozen=True)
class Idle(Job):
    title = "idle"

    def run(self):
        return Outcome(())


def test_a_pool_that_is_broken_unnoticed_loses_the_job_and_raises_nothing():
    class Broken:
        def submit(self, task):
            raise BrokenProcessPool("a worker has died")

    pool = Pool(Broken, PLAIN)
    pool.submit(Idle())
    ((future, job),) = pool.running.items()
    assert job == Idle()
    with pytest.raises(BrokenProcessPool):
        future.result()
