"""What made a number is in its name: training data, plug-ins and what these read."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, prepare, run

from robustdeq.data.base import DataSet, Split
from robustdeq.defenses.explicit import Explicit
from robustdeq.engines.row import Row
from robustdeq.engines.training import reloaded
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.progress import PLAIN
from robustdeq.results.store.identity import entrant_id, on_data, trial_id
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import encode
from robustdeq.testing.toys import toy_data

ENTRANTS = '[[entrants]]\ndefense = "explicit"\nrecipe = { epochs = 1 }\n'


def idx(path: Path, numbers: np.ndarray) -> None:
    """An idx file of bytes."""
    header = bytes([0, 0, 8, numbers.ndim]) + struct.pack(f">{numbers.ndim}I", *numbers.shape)
    path.write_bytes(header + numbers.astype(np.uint8).tobytes())


def write_images(folder: Path, seed: int, swapped: bool = False) -> None:
    """Forty training images of two classes told apart by brightness; the same ten test images."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count, draw in (("train", 40, seed), ("t10k", 10, 0)):
        labels = np.arange(count) % 2
        images = (
            np.random.default_rng(draw).integers(0, 60, (count, 8, 8)) + 120 * labels[:, None, None]
        )
        if part == "train" and swapped:
            labels = 1 - labels
        idx(folder / f"{part}-images-idx3-ubyte", images)
        idx(folder / f"{part}-labels-idx1-ubyte", labels)


def protocol_text(folder: Path, held_out: int = 8) -> str:
    """The smallest protocol on the images of a folder, with their digest."""
    source = f'data = {{ name = "mnist", root = "{folder}", held_out = {held_out} }}'
    text = TINY.replace('data = "digits"', source).replace("images = 20", "images = 10")
    from robustdeq.data.mnist import MNIST

    digest = MNIST(str(folder), held_out).load().test.digest()
    return text.replace(load_protocol("digits-linf-v1").digest, digest)


@pytest.fixture
def images(tmp_path):
    """A folder of idx files, and beside it a protocol on it with one entrant."""
    write_images(tmp_path / "idx", seed=1)
    prepare(tmp_path, protocol_text(tmp_path / "idx"), ENTRANTS)
    return tmp_path


def weights(folder: Path) -> set[str]:
    return {path.name for path in (folder / "runs/checkpoints").glob("*.safetensors")}


def records(folder: Path) -> list[dict]:
    found = ResultStore(folder / "runs").scan()
    return [json.loads(record.to_json()) for record in found]


class TestTrainingData:
    def test_every_part_of_what_is_learnt_from_changes_the_digest(self):
        data = toy_data(train=8, held_out=4, test=4)
        other = Split(data.train.images, data.train.labels.flip(0))
        variants = [
            data,
            replace(data, train=other),
            replace(data, held_out=data.test),
            DataSet(data.train, data.held_out, data.test, data.classes + 1),
        ]
        assert len({each.training_digest() for each in variants}) == 4
        assert replace(data, test=data.held_out).training_digest() == data.training_digest()

    def test_the_data_is_part_of_the_identity_of_entrant_weights_and_trial(self):
        bare = Entrant(Explicit())
        first, second = bare.trained_on("a" * 64), bare.trained_on("b" * 64)
        assert len({bare.id, first.id, second.id, first.trained.id, second.trained.id}) == 3
        assert first.trained_on("a" * 64) == first
        with pytest.raises(
            SpecError, match=r"specified for the training data aaaa.* there is bbbb"
        ):
            first.trained_on("b" * 64)

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: write_images(folder / "idx", seed=1, swapped=True),
            lambda folder: write_images(folder / "idx", seed=2),
            lambda folder: (folder / "tiny.toml").write_text(protocol_text(folder / "idx", 9)),
        ],
        ids=["swapped labels", "other images of one shape", "another held-out count"],
    )
    @pytest.mark.parametrize("arguments", [(), ("--again",)], ids=["run", "run --again"])
    def test_other_training_data_is_trained_on_anew(self, images, change, arguments):
        assert run(images).code == 0
        before = weights(images)
        change(images)
        assert run(images, *arguments).code == 0
        assert len(weights(images)) == 2
        assert before < weights(images)
        assert len(records(images)) == 4
        assert len({record["entrant"]["data"] for record in records(images)}) == 2
        assert len({record["trial"] for record in records(images)}) == 4
        board = (images / "runs/boards/tiny.md").read_text()
        assert board.count("explicit [data=") >= 2  # no row hides the other

    def test_data_that_changes_between_training_and_attack_attacks_nothing(self, images):
        protocol = load_protocol(str(images / "tiny.toml"))
        entrant = protocol.entered(Entrant(Explicit(), Recipe(epochs=1)), reloaded(protocol))
        assert run(images).code == 0
        write_images(images / "idx", seed=1, swapped=True)
        reloaded(protocol)
        row = Row(protocol, entrant, images / "runs", "cpu", again=True)
        outcomes = [attack.run(PLAIN) for attack in row.attacks(10)]
        assert all("the files have changed meanwhile" in o.failures[0][1] for o in outcomes)
        assert len(records(images)) == 2


class TestTrialId:
    def test_a_record_alone_says_what_its_trial_is_called(self, images):
        assert run(images).code == 0
        for record in ResultStore(images / "runs").scan():
            found = trial_id(record.entrant, record.column, record.data, record.threat)
            assert found == record.trial

    def test_an_entrant_is_called_the_same_by_its_text_and_by_itself(self):
        data = "ab" * 32
        for entrant in (Entrant(Explicit()), Entrant(Explicit(channels=8), Recipe(epochs=2), 3)):
            assert entrant_id(encode(entrant)) == entrant.id
            assert entrant_id(on_data(encode(entrant), data)) == entrant.trained_on(data).id

    @pytest.mark.parametrize("key", ["entrant", "column", "data", "threat"])
    def test_an_edited_specification_has_another_id(self, key):
        spec = {
            "entrant": {"defense": {"name": "vanilla", "version": 1}, "seed": 1, "data": "ab" * 32},
            "column": {"name": "pgd", "stages": [], "seeds": [0]},
            "data": {"name": "digits", "digest": "d1" * 32, "n": 12},
            "threat": {"name": "linf", "version": 1, "eps": "3/16"},
        }
        edits = {
            "entrant": {"data": "cd" * 32},
            "column": {"seeds": [1]},
            "data": {"n": 11},
            "threat": {"eps": "1/16"},
        }
        edited = {**spec, key: {**spec[key], **edits[key]}}
        assert trial_id(**edited) != trial_id(**spec)
