"""The networks that the tables attack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import torch

from benchmarks.timing import slow_cell
from benchmarks.timing.opponents import Settings
from benchmarks.timing.options import DIGITS, load_data
from robustdeq.data.base import DataSet
from robustdeq.data.digits import Digits
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.errors import UnknownName
from robustdeq.models.deq import DEQClassifier
from robustdeq.notebook import load_model
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.linf import Linf

RESULTS = Path(__file__).parents[2] / "results"


@dataclass(frozen=True)
class Subject:
    """A trained network under a threat, and the opponent's best settings on it.

    The settings were chosen on held-out images (`python -m benchmarks.timing.tune`); the tables are
    of test images.
    """

    name: str
    target: DefendedModel
    data: DataSet
    threat: ThreatModel
    settings: Settings

    @property
    def device(self) -> torch.device:
        """Where the images and the network are."""
        return self.data.test.images.device

    def on(self, device: torch.device) -> "Subject":
        """The same on a device; the network itself moves."""
        self.target.classifier.to(device)
        return replace(self, data=self.data.to(device))

    @property
    def model(self) -> DEQClassifier:
        """The network."""
        assert isinstance(self.target.classifier, DEQClassifier)
        return self.target.classifier


def slow() -> Subject:
    """The slow cell with 32 channels."""
    digest = "6215124a6516942a711409ee76143771392bbef0184389095dd3739fa3852f88"
    return _residual("slow", 32, DIGITS, Digits().load(), digest, Settings(tol=3e-2))


def wide() -> Subject:
    """The slow cell with 128 channels; of its solves 29 % converge in 200 Picard steps."""
    digest = "beeb42bd5a3ad782191ce5c101cf835984d00155f85ecc6bc6c479a3e6410d76"
    return _residual("wide", 128, DIGITS, Digits().load(), digest, Settings(tol=3e-2))


def stock() -> Subject:
    """The stock cell, adversarially trained, from the committed results."""
    settings = Settings(tol=1e-1, batch_size=128)
    target = load_model("adversarial-training/vanilla", RESULTS)
    return Subject("stock", target, Digits().load(), Linf(Fraction(3, 16)), settings)


SUBJECTS: Mapping[str, Callable[[], Subject]] = MappingProxyType(
    {"slow": slow, "stock": stock, "wide": wide}
)


def find_subject(name: str) -> Subject:
    """One of the networks.

    Raises:
        UnknownName: there is no such network.
        CheckpointError: its weights are missing or not the recorded ones.
    """
    if name not in SUBJECTS:
        raise UnknownName("cell", name, SUBJECTS)
    return SUBJECTS[name]()


def subject_on(data: str, root: str | None) -> Subject:
    """The slow cell on other images, as `python -m benchmarks.timing.slow_cell` has trained it.

    Raises:
        DataError, UnknownName: as `load_data`.
        CheckpointError: it is not trained.
    """
    return _residual(f"slow, {data}", 32, data, load_data(data, root), None, Settings(tol=3e-2))


def _residual(
    name: str, channels: int, data: str, images: DataSet, digest: str | None, settings: Settings
) -> Subject:
    task = Task(images.shape, images.classes)
    network = slow_cell.load(channels, task, data, digest)
    target = DefendedModel(slow_cell.entrant(channels).defense, network, {})
    return Subject(name, target, images, slow_cell.THREAT, settings)
