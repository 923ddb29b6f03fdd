"""How much each client's network counts when a server fuses them: a family of rules.

    w_k = n_k^a q_k / sum_j n_j^a q_j,    a in {0, 1}

with n_k images and a quality q_k that a rule gives. Weighting clients by the quality of networks
trained on different iteration budgets is the idea of Gkillas et al. (2023); their formula is not
known to us, and no rule here is claimed to be it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from robustdeq.errors import UnknownName


@dataclass(frozen=True)
class Report:
    """What a client says about its training in one round.

    Attributes:
        images: it trained on.
        budget: solver steps it could afford.
        residual: mean relative residual at its own stop, after training, on its own images; 0 of
            a network that solves nothing.
    """

    client: int
    images: int
    budget: int
    residual: float


class Fusion(ABC):
    """A rule; q_k > 0, in any unit."""

    @abstractmethod
    def quality(self, reports: Sequence[Report]) -> list[float]:
        """q_k of each report, in their order. Clients of one budget get one and the same."""


@dataclass(frozen=True)
class FedAvg(Fusion):
    """q = 1 (McMahan et al. 2017, algorithm 1, with a = 1)."""

    def quality(self, reports: Sequence[Report]) -> list[float]:
        return [1.0 for _ in reports]


@dataclass(frozen=True)
class Iterations(Fusion):
    """q = K: the most literal reading of "in proportion to the iterations"."""

    def quality(self, reports: Sequence[Report]) -> list[float]:
        return [float(report.budget) for report in reports]


@dataclass(frozen=True)
class Logarithmic(Fusion):
    """q = log(1 + K): ours, so that the strongest client does not carry the average."""

    def quality(self, reports: Sequence[Report]) -> list[float]:
        return [math.log1p(report.budget) for report in reports]


@dataclass(frozen=True)
class Saturating(Fusion):
    """q = 1 - rho^K, ours: K steps of a rho-contraction leave rho^K of the first error."""

    rho: float = 0.7

    def quality(self, reports: Sequence[Report]) -> list[float]:
        return [1.0 - self.rho**report.budget for report in reports]


@dataclass(frozen=True)
class Residual(Fusion):
    """q = 1 / (r + c), r the mean residual of the clients that share a budget; ours.

    Clients of one budget share one r: what remains between them is a difference of their images
    and not of their solvers.

    Attributes:
        floor: c, the residual below which there is nothing to gain; the stock solver's tolerance.
    """

    floor: float = 1e-3

    def quality(self, reports: Sequence[Report]) -> list[float]:
        shared: dict[int, list[Report]] = {}
        for report in sorted(reports, key=lambda r: r.client):
            shared.setdefault(report.budget, []).append(report)
        mean = {
            budget: sum(r.images * min(r.residual, 1.0) for r in group)
            / sum(r.images for r in group)
            for budget, group in shared.items()
        }
        return [1.0 / (mean[report.budget] + self.floor) for report in reports]


FUSIONS = MappingProxyType(
    {
        "fedavg": FedAvg(),
        "iterations": Iterations(),
        "logarithmic": Logarithmic(),
        "residual": Residual(),
        "saturating": Saturating(),
    }
)


def find_fusion(name: str) -> Fusion:
    """
    Raises:
        UnknownName: no rule of this name.
    """
    if name not in FUSIONS:
        raise UnknownName("fusion", name, FUSIONS)
    return FUSIONS[name]


def fusion_weights(
    reports: Sequence[Report], fusion: Fusion, by_images: bool = True
) -> list[float]:
    """w_k of each report, in their order; they sum to 1.

    q is divided by its maximum first: equal budgets then give q = 1 exactly, and every rule the
    very bits of FedAvg. Sums run in the order of the client numbers, whatever the order given.
    """
    qualities = fusion.quality(reports)
    best = max(qualities)
    shares = [
        (report.images if by_images else 1) * (quality / best)
        for report, quality in zip(reports, qualities, strict=True)
    ]
    order = sorted(range(len(reports)), key=lambda i: reports[i].client)
    total = sum(shares[i] for i in order)
    return [share / total for share in shares]


def effective_clients(weights: Sequence[float]) -> float:
    """(sum w)^2 / sum w^2: of how many equally weighted clients the average is worth."""
    return sum(weights) ** 2 / sum(w * w for w in weights)
