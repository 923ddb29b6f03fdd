"""The contract of a training loop, and the one way to run what a defense asks for."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.entrant import Entrant
from robustdeq.models.base import Classifier
from robustdeq.precision import full_precision
from robustdeq.progress import Progress, unseen
from robustdeq.registry import Plugin, find
from robustdeq.training.central import build


class Loop(Plugin, ABC):
    """How an entrant's weights come about: on one machine, or on several that share no images.

    A loop has no fields: what it needs to know it reads from the entrant's defense and recipe, so
    that both stay the whole specification of the weights. A defense names its loop in the class
    attribute `loop`.
    """

    kind: ClassVar[str] = "loops"

    def check(self, entrant: Entrant, data: DataSet, network: Classifier) -> None:
        """Refuse what of this way of training does not fit the images or a fresh network.

        Raises:
            SpecError: it does not; by default everything does.
        """
        return None

    @abstractmethod
    def train(
        self,
        entrant: Entrant,
        data: DataSet,
        device: torch.device,
        resume: Path | None,
        progress: Progress,
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        """Train from scratch, or go on where an interrupted training stopped, bit for bit.

        Args:
            resume: where to keep the state of the unfinished training; None keeps none.
            progress: hears of every step.

        Returns:
            The network with the weights of its best look at the held-out images, frozen and in
            evaluation mode, and the log: one row a look, each with `loss`, `clean` and `robust`.

        Raises:
            SpecError: the entrant cannot be trained so, or its training diverged.
            CheckpointError: the state in `resume` is damaged.
        """


def check(entrant: Entrant, data: DataSet) -> None:
    """Refuse what could not be trained, or could not stand on what is, before anything is trained.

    Raises:
        SpecError: as `Loop.check`, and as building the whole chain does; or the recipe's radius
            reaches every image.
    """
    if (threat := entrant.recipe.threat) is not None:
        threat.require_fit(data.shape)
    network = build(entrant, Task(data.shape, data.classes))
    _loop(entrant).check(entrant.trained, data, network)


@full_precision()
def train(
    entrant: Entrant,
    data: DataSet,
    device: torch.device,
    resume: Path | None = None,
    progress: Progress = unseen,
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Train with the loop that the entrant's defense names; arguments and errors are the loop's."""
    return _loop(entrant).train(entrant, data, device, resume, progress)


def _loop(entrant: Entrant) -> Loop:
    return find(Loop.kind, entrant.defense.loop)()
