"""The third use: a defense of one new file, and what it is worth."""

import shutil
from pathlib import Path

import pytest
from commands import robustdeq, stamps

from robustdeq.evaluation.protocol import load_protocol

REPOSITORY = Path(__file__).parents[1]

OWN = '''\
"""Training on uniform noise instead of adversarial inputs."""

from dataclasses import dataclass
from typing import ClassVar

from robustdeq.defenses.base import Card, Wrapper


@dataclass(frozen=True)
class UniformNoise(Wrapper):
    """Every training image is replaced by a random point of its threat set."""

    card: ClassVar[Card] = Card(
        title="Towards Deep Learning Models Resistant to Adversarial Attacks",
        citation="Madry et al., ICLR 2018 (the random start, without the ascent after it)",
    )

    def craft(self, target, batch, noise, memory):
        return batch.threat.random_start(batch.x, batch.rows, noise.stream)
'''


@pytest.mark.slow
def test_a_defense_of_one_file_is_checked_evaluated_and_compared_by_three_commands(tmp_path):
    path = tmp_path / "uniform_noise.py"
    path.write_text(OWN)
    assert len(OWN.splitlines()) <= 40
    results = shutil.copytree(REPOSITORY / "results", tmp_path / "results")
    before = stamps(results / "records")

    checked = robustdeq("check", path)
    assert checked.code == 0
    assert checked.out.startswith("uniform-noise/vanilla\n")
    assert "broken" not in checked.out

    entrant = "uniform-noise/explicit"
    ran = robustdeq(
        "run", "--plugin", path, "--entrant", entrant, "--results", results, "--quiet"
    )  # fmt: skip
    assert ran.code == 0
    assert f"{entrant}: " in ran.err
    after = stamps(results / "records")
    assert {name: after[name] for name in before} == before
    added = {name for name in after.keys() - before.keys() if name.endswith(".parquet")}
    assert len(added) == len(load_protocol("digits-linf-v1").columns)

    reported = robustdeq("report", entrant, "trades/vanilla", "--results", results)
    assert reported.code == 0
    assert "trades/vanilla keeps" in reported.out  # adversarial training is not noise
    assert f"more robust accuracy than {entrant} (p < 0.001)." in reported.out
