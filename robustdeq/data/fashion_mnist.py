"""Fashion-MNIST from its four original files."""

from dataclasses import dataclass

from robustdeq.data.base import DataSet, DataSource, data_folder
from robustdeq.data.idx import load_idx_folder


@dataclass(frozen=True)
class FashionMNIST(DataSource):
    """Articles of clothing, 28x28 grey: 60,000 training images, `held_out` of them held out.

    `root` holds the four idx files, plain or gzipped. Xiao, Rasul, Vollgraf (2017),
    "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
    arXiv:1708.07747.
    """

    root: str = "FashionMNIST/raw"
    held_out: int = 5000

    def load(self) -> DataSet:
        return load_idx_folder(data_folder(self.root), self.held_out)
