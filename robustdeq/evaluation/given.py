"""What a caller gives to be attacked, checked against the model and the threat."""

from typing import Any

import torch

from robustdeq.data.base import Split
from robustdeq.data.checks import check_labels, check_shape
from robustdeq.data.convert import images_of, labels_of
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation, DataError
from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel


def given(model: DefendedModel, images: Any, labels: Any, threat: ThreatModel) -> Split:
    """Images and labels that this model can be attacked on.

    Raises:
        DataError: they are no labeled images in [0, 1], of another shape than the model's, or with
            labels that it has no logits for.
        SpecError: the radius reaches every image.
        ContractViolation: the model's logits are not one row for each image.
    """
    x = images_of(images)
    split = Split(x, labels_of(labels).to(x.device))
    if (task := model.classifier.task) is not None:
        check_shape(split.images, task.shape)
    check_labels(split.labels, _classes(model, split))
    threat.require_fit(tuple(x.shape[1:]))
    return split


def _classes(model: DefendedModel, split: Split) -> int:
    """How many logits the model answers an image with."""
    first = torch.zeros(1, dtype=torch.int64, device=split.images.device)
    try:
        logits = model.predict(split.images[:1], first, NoiseStream(0)).logits
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason"])[0]
        raise DataError(
            f"the model answers no image of shape {tuple(split.images.shape[1:])} on "
            f"{split.images.device.type} ({reason}); give images of the shape and on the device "
            f"that it was built for"
        ) from error
    if logits.ndim != 2:
        raise ContractViolation(
            f"the model answers one image with logits of shape {tuple(logits.shape)}; expected "
            f"(1, classes)"
        )
    return logits.shape[1]
