"""One machine that sees every training image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustdeq.data.base import DataSet
from robustdeq.entrant import Entrant
from robustdeq.models.base import Classifier
from robustdeq.progress import Progress
from robustdeq.training import central
from robustdeq.training.loops.base import Loop


@dataclass(frozen=True)
class Central(Loop):
    """Epochs over all training images on one machine."""

    def train(
        self,
        entrant: Entrant,
        data: DataSet,
        device: torch.device,
        resume: Path | None,
        progress: Progress,
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        return central.train(entrant, data, device, resume, progress)
