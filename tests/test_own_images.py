"""A protocol on one's own images: what the files hold is told before hours are spent on them."""

import numpy as np
import pytest
from commands import robustdeq
from PIL import Image

from robustdeq.data.image_folder import ImageFolder

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
