"""The embedded data set: 1,797 digits of 8x8 pixels, a check of the machinery in seconds."""

from dataclasses import dataclass
from importlib import resources

import numpy as np

from robustdeq.data.base import DataSet, DataSource, Split

_WHITE = 16  # a pixel counts the inked cells of a 4x4 block of the scanned bitmap


@dataclass(frozen=True)
class Digits(DataSource):
    """Optical Recognition of Handwritten Digits: 1,097 train, 200 held out, 500 test.

    Pixels are counts / 16. The 1,797 images are the test part of the UCI set; its writers are not
    separated here. The split is the three index lists stored in the file, drawn once from a
    permutation p (torch.randperm(1797), generator seed 0): test p[0:200] and p[1497:1797], held
    out p[200:400], train p[400:1497].

    Source: E. Alpaydin, C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, doi:10.24432/C50P49, CC BY 4.0; as in "Cascading classifiers", Kybernetika
    34(4), 369-374.
    """

    def load(self) -> DataSet:
        file = resources.files("robustdeq.data") / "digits.npz"
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            images, labels = stored["images"][:, None], stored["labels"]
            train, held_out, test = (
                Split.from_bytes(images[rows], labels[rows], _WHITE)
                for rows in (stored["train"], stored["held_out"], stored["test"])
            )
        return DataSet(train, held_out, test, classes=10)
