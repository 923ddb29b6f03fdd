"""MNIST from its four original files."""

from dataclasses import dataclass

from robustdeq.data.base import DataSet, DataSource, data_folder
from robustdeq.data.idx import load_idx_folder


@dataclass(frozen=True)
class MNIST(DataSource):
    """Handwritten digits, 28x28 grey: 60,000 training images, `held_out` of them held out.

    `root` holds the four idx files, plain or gzipped. LeCun, Bottou, Bengio, Haffner (1998),
    "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), section III.A.
    """

    root: str = "MNIST/raw"
    held_out: int = 5000

    def load(self) -> DataSet:
        return load_idx_folder(data_folder(self.root), self.held_out)
