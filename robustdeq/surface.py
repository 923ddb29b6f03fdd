"""What an attack sees: a counted, per-row oracle over a model it knows nothing about.

An attack is a function of a surface, not of a model. The surface owns the forward solve, the
gradient and every short cut that makes them cheap (warm starts, compaction), because only it knows
the equilibrium behind the logits; the attack owns the search. Truth is neither's: that is the
judge's, who reads the deployed predictor.
"""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples


class Reading(NamedTuple):
    """One evaluation of an objective: its value, and what came with it for free."""

    value: Float[Tensor, " batch"]
    logits: Float[Tensor, "batch classes"]
    gradient: Tensor | None = None


@dataclass
class Cost:
    """Work counted per image-evaluation, the only cost a board may carry.

    `forward`: cell (or network) evaluations; `vjp`: vector-Jacobian products of the same; `calls`:
    model queries as a black-box attacker counts them.

    An account, and no number that a look returns: a product is done when autograd goes back, which
    for a library's attack is after the look.

    Attributes:
        undirected: the rows that had, at some visit, a gradient that was no number. (A caller that
            cannot name rows has as many of them as any one visit had.)
    """

    counts: Counter = field(default_factory=Counter)
    undirected: set[int] = field(default_factory=set)

    def add(self, **counts: int | float) -> None:
        self.counts.update({name: int(value) for name, value in counts.items()})

    def book(self, other: "Cost") -> None:
        """Enter all of another account, too."""
        self.counts.update(other.counts)
        self.undirected |= other.undirected

    def directed(
        self, gradient: Float[Tensor, "batch *image"], rows: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch *image"]:
        """The gradient with no direction, zero, for rows where it is NaN or infinite; notes them.

        One such row (the square root of a black pixel has no slope) is no reason to stop others.
        """
        lost = ~torch.isfinite(gradient).flatten(1).all(1)
        if not bool(lost.any()):
            return gradient
        self.undirected.update(range(int(lost.sum())) if rows is None else rows[lost].tolist())
        return gradient.masked_fill(lost.reshape(-1, *[1] * (gradient.ndim - 1)), 0.0)


class Surface(ABC):
    """The abstract thing an attack sees.

    Images are (B, *image) in [0, 1]. Positions, (B,) in the data slice, are the key of all per-row
    state; `rows` is None for callers that cannot name samples (library adapters), and then no
    per-row state is used. Values and gradients are per row: no row's depends on its batch peers.

    Attributes:
        cost: the account of all work done through this surface.
        logits_form: whether the logits are a plain function of x, which library attacks need.
    """

    cost: Cost
    logits_form: bool = True

    @abstractmethod
    def view(self, x: Tensor, rows: Tensor | None, needs: frozenset[str]) -> View:
        """Look without a gradient."""

    @abstractmethod
    def value(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        """The objective (B,), without a gradient."""

    def value_and_grad(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        """The objective (B,) and the gradient of each row's value by its own image.

        Where that is no number the row has the zero gradient, and `cost` notes it.
        """
        reading = self.raw_value_and_grad(samples, objective, target)
        assert reading.gradient is not None
        return reading._replace(gradient=self.cost.directed(reading.gradient, samples.positions))

    @abstractmethod
    def raw_value_and_grad(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        """`value_and_grad` as autograd gives it; attacks ask that one."""

    @abstractmethod
    def differentiable_logits(self, x: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits in x's autograd graph, for library attacks; only where `logits_form` holds."""
