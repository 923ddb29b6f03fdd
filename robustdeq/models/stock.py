"""The stock equilibrium network: what `vanilla` and its weight-tied control are both made of."""

from robustdeq.adjoints.base import Adjoint
from robustdeq.models.cells import TanhCell, normalised_injection, pooled_head
from robustdeq.models.deq import DEQClassifier
from robustdeq.solvers.base import Solver


def stock_network(
    shape: tuple[int, int, int], classes: int, channels: int, solver: Solver, adjoint: Adjoint
) -> DEQClassifier:
    """Normalised injection, `TanhCell` and pooled head, for images (channels, height, width)."""
    in_channels, height, width = shape
    return DEQClassifier(
        normalised_injection(in_channels, channels),
        TanhCell(channels),
        pooled_head(channels, height, width, classes),
        (channels, height, width),
        solver,
        adjoint,
    )
