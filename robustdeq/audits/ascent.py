"""A plain walk uphill, seen step by step: what an attack reads on its way."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.audits.base import Case
from robustdeq.objectives.base import Objective
from robustdeq.surface import Surface

_STEP = 0.25  # of the radius, as PGD's default


def ascent(
    case: Case,
    surface: Surface,
    start: Float[Tensor, "n *image"],
    objective: Objective,
    steps: int,
    room: float = 0.0,
    towards: Int[Tensor, " n"] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The iterates x_0 = start, ..., x_steps of PGD, each with the gradient read there.

    No row ever leaves the walk, broken or not. All iterates are finite differences' worth of
    `room` inside [0, 1].

    Raises:
        MissingGradient: no gradient reaches the input.
    """
    x = start.clamp(room, 1.0 - room)
    for _ in range(steps + 1):
        gradient = surface.value_and_grad(case.samples.moved(x), objective, towards).gradient
        assert gradient is not None
        yield x, gradient
        ahead = x + _STEP * float(case.threat.eps) * case.threat.steepest(gradient)
        x = case.threat.project(torch.nan_to_num(ahead), case.x).clamp(room, 1.0 - room)
