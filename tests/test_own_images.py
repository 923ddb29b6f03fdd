"""A protocol on one's own images: what the files hold is told before hours are spent on them."""

import numpy as np
import pytest
from commands import robustdeq
from PIL import Image

from robustdeq.data.image_folder import ImageFolder
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.results.store.protocol import places
from robustdeq.results.store.result_store import ResultStore

PROTOCOL = """
name = "own"
digest = "{digest}"
data = {{ name = "image-folder", root = "{root}", held_out = 4, mode = "L" }}
threat = {{ name = "linf", eps = "1/10" }}

[[columns]]
name = "square"
seeds = [0]
{images}
stages = [{{ attack = {{ name = "square", queries = 2 }} }}]
"""


@pytest.fixture
def root(tmp_path):
    """Eight images of each of two classes to learn from, and as many to be judged on."""
    noise = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("ant", "cat"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(8):
                pixels = noise.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "images"


def protocol(root, images=""):
    digest = ImageFolder(root=str(root), held_out=4, mode="L").load().test.digest()
    path = root.parent / "own.toml"
    path.write_text(PROTOCOL.format(digest=digest, root=root, images=images))
    return path


def test_skipped_files_are_told_before_a_training(root):
    (root / "train/ant/README").write_text("from the zoo")
    answer = robustdeq(
        "train", "explicit", "--protocol", protocol(root), "--results", root.parent / "runs",
        "--workers", "1", "--quiet",
    )  # fmt: skip
    assert answer.code == 0
    assert f"own: 1 files or folders are no images and were skipped, first {root}" in answer.err


def run(root, images, *arguments):
    return robustdeq(
        "run", protocol(root, images), "--results", root.parent / "runs", "--workers", "1",
        "--quiet", *arguments,
    )  # fmt: skip


ENTRANT = '[[entrants]]\ndefense = "explicit"\nrecipe = {{ epochs = 1 }}\n{images}\n'


@pytest.fixture
def entrants(root):
    path = root.parent / "entrants.toml"
    path.write_text(ENTRANT.format(images=""))
    return path


def test_the_first_images_of_sorted_files_are_refused_with_the_line_to_add(root, entrants):
    answer = run(root, "images = 8", "--entrant", entrants)
    assert answer.refuses(
        "column 'square': the first 8 of 16 images hold 1 of 2 classes",
        'add the line order = "shuffled" to the column',
    )
    assert not (root.parent / "runs").exists()


def test_so_are_those_of_an_entrant_that_is_attacked_on_few(root, entrants):
    entrants.write_text(ENTRANT.format(images="images = 8"))
    assert run(root, "", "--entrant", entrants).refuses("the first 8 of 16 images hold 1 of 2")


def test_a_shuffled_column_attacks_both_classes_and_its_record_says_so(root, entrants):
    answer = run(root, 'images = 8\norder = "shuffled"', "--entrant", entrants)
    assert answer.code == 0, answer.err
    store = ResultStore(root.parent / "runs")
    (record,) = store.scan({})
    assert record.column["order"] == "shuffled"
    table = store.samples(record, ["index", "label"]).to_pydict()
    first = places("shuffled", 8, 16)
    assert sorted(first) != first
    assert table["index"] == first
    assert set(table["label"]) == {0, 1}
    assert store.table(record, "images")["index"].to_pylist() == first


def test_the_shuffled_order_never_changes():
    assert places("shuffled", 6, 16) == [1, 6, 9, 0, 8, 5]
    assert places("file", 6, 16) == list(range(6))
    assert sorted(places("shuffled", None, 16)) == list(range(16))


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ("state-map", "own has no column whose goal is 'map'"),
        ("times", "`robustdeq run PROTOCOL --results {runs}` with its name or TOML file"),
    ],
)
def test_a_report_without_records_names_what_can_be_done(root, entrants, of, told):
    """It once said `robustdeq run own`, which is a name in a file and no protocol to be found."""
    assert robustdeq("run", "own").refuses("unknown protocol 'own'")
    path, runs = protocol(root, ""), root.parent / "runs"
    rules = load_protocol(str(path))
    ResultStore(runs).write_protocol("own", rules.resolved(16))
    answer = robustdeq("report", "--of", of, "--results", runs)
    assert answer.refuses(told.format(runs=runs))
