"""To be misread: the goal of robust accuracy."""

from dataclasses import dataclass
from typing import ClassVar

from robustdeq.goals.base import Goal


@dataclass(frozen=True)
class Label(Goal):
    """An image is lost as soon as the deployed predictor misreads what an attack made of it.

    The most harmful candidate of each image is kept. Its figures may rank.
    """

    ranks: ClassVar[bool] = True
    settles: ClassVar[bool] = True
