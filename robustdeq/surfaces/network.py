"""Any differentiable network as a `Surface`, and the accounting that all surfaces share."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.equilibrium import CellProblem
from robustdeq.errors import SpecError
from robustdeq.gradients import gradient_of
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.solvers.base import solve
from robustdeq.surface import Cost, Reading, Surface

Rows = Tensor | None
Prepare = Callable[[Tensor, Rows], Tensor]  # (x, rows) -> x, differentiable
Logits = Callable[[Tensor, Rows], Tensor]  # (x, rows) -> (B, classes)


def unchanged(x: Tensor, rows: Rows) -> Tensor:
    """An input that the defense leaves alone."""
    return x


def counted(value: Tensor, cost: Cost) -> Tensor:
    """Book one evaluation per row now, and one vector-Jacobian product per row and backward."""
    count = len(value)
    cost.add(forward=count)
    if value.requires_grad:
        value.register_hook(lambda _: cost.add(vjp=count))
    return value


def counted_problem(problem: CellProblem, cost: Cost) -> CellProblem:
    """The same problem, every evaluation of its cell booked: also those of rows that only wait."""
    cell = problem.cell
    return replace(problem, cell=lambda z, *context: counted(cell(z, *context), cost))


def counted_network(model: EquilibriumNetwork, cost: Cost) -> EquilibriumNetwork:
    """The same network, every evaluation of f booked, whoever asks for it.

    It stays one of its own class, so that it keeps whatever a defense reads of it.
    """
    kind = type(model)

    class Counted(kind):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
        def problem(self, x: Tensor) -> CellProblem:
            return counted_problem(kind.problem(self, x), cost)

    other = model.replaced()
    other.__class__ = Counted
    return other


class NetworkSurface(Surface):
    """What is the same of all surfaces of networks: queries are counted here, and only here.

    A subclass computes; what it evaluates it books in `cost` itself.

    Attributes:
        shows: the parts of a `View` that objectives may read.
    """

    shows: ClassVar[frozenset[str]] = frozenset({"logits"})

    def __init__(self, cost: Cost | None = None):
        self.cost = cost or Cost()

    @abstractmethod
    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        """Logits without a graph."""

    @abstractmethod
    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        """Logits in x's graph."""

    def _view(self, x: Tensor, rows: Rows, needs: frozenset[str]) -> View:
        """What is seen without a graph."""
        return View(self._logits(x, rows))

    def _value(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        """The objective without a graph."""
        view = self._view(samples.images, samples.positions, objective.needs)
        return Reading(objective.score(view, samples.labels, target), view.logits)

    @abstractmethod
    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        """The objective and its gradient."""

    def view(self, x: Tensor, rows: Rows, needs: frozenset[str]) -> View:
        self.cost.add(calls=len(x))
        with torch.no_grad():
            return self._view(x, rows, needs)

    def value(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        self._require_readable(objective)
        self.cost.add(calls=len(samples))
        with torch.no_grad():
            return self._value(samples, objective, target)

    def raw_value_and_grad(
        self, samples: Samples, objective: Objective, target: Tensor | None = None
    ) -> Reading:
        self._require_readable(objective)
        self.cost.add(calls=len(samples))
        return self._gradient(samples, objective, target)

    def differentiable_logits(self, x: Tensor) -> Tensor:
        self.cost.add(calls=len(x))
        if torch.is_grad_enabled() and x.requires_grad:
            seen = x.view_as(x)
            seen.register_hook(lambda gradient: self.cost.directed(gradient, None))
            return self._differentiable(seen, None)
        with torch.no_grad():
            return self._logits(x, None)

    def _require_readable(self, objective: Objective) -> None:
        """
        Raises:
            SpecError: it needs states or residuals, which this surface does not show.
        """
        if more := objective.needs - self.shows:
            raise SpecError(
                f"objective {objective.plugin_name()!r} reads {', '.join(sorted(more))}, but this "
                f"surface shows logits alone; attack a surrogate of the solver's states instead"
            )


class StateSurface(NetworkSurface):
    """A surface that looks at the states of an equilibrium network.

    Args:
        prepare: (x, rows) -> x, differentiable: what a defense does to its input first.
    """

    def __init__(
        self, model: EquilibriumNetwork, prepare: Prepare = unchanged, cost: Cost | None = None
    ):
        super().__init__(cost)
        self._model, self._prepare = model, prepare

    def _problem(self, x: Tensor, rows: Rows) -> CellProblem:
        """f(., x), every evaluation booked."""
        return counted_problem(self._model.problem(self._prepare(x, rows)), self.cost)


class AutogradSurface(NetworkSurface):
    """A function of the images whose gradient is plain backpropagation.

    Args:
        logits: the function without a graph.
        differentiable: the same values, in x's graph.
    """

    def __init__(self, logits: Logits, differentiable: Logits, cost: Cost):
        super().__init__(cost)
        self._no_graph, self._graph = logits, differentiable

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_()
            logits = self._differentiable(leaf, samples.positions)
            value = objective.score(View(logits), samples.labels, target)
            gradient = gradient_of(value.sum(), leaf)
        return Reading(value.detach(), logits.detach(), gradient)

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        return self._no_graph(x, rows)

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        return self._graph(x, rows)


def network_surface(logits: Logits) -> AutogradSurface:
    """A network without an equilibrium, or a defense's own differentiable stand-in."""
    cost = Cost()

    def counted_logits(x: Tensor, rows: Rows) -> Tensor:
        return counted(logits(x, rows), cost)

    return AutogradSurface(counted_logits, counted_logits, cost)


def adjoint_surface(
    model: EquilibriumNetwork,
    adjoint: Adjoint,
    prepare: Prepare = unchanged,
    cost: Cost | None = None,
) -> AutogradSurface:
    """The deployed function, cold, with whatever gradient an adjoint gives it."""
    cost = cost or Cost()

    def logits(x: Tensor, rows: Rows) -> Tensor:
        problem = counted_problem(model.problem(prepare(x, rows)), cost)
        return model.readout(solve(problem, model.solver).z)

    def differentiable(x: Tensor, rows: Rows) -> Tensor:
        problem = counted_problem(model.problem(prepare(x, rows)), cost)
        return model.readout(adjoint.solve(problem, model.solver).z)

    return AutogradSurface(logits, differentiable, cost)


def through_solver_surface(
    model: EquilibriumNetwork,
    prepare: Prepare = unchanged,
    cost: Cost | None = None,
) -> AutogradSurface:
    """The deployed T-step function, cold, differentiated through its own steps.

    The reference gradient: memory grows with the steps, and nothing is assumed of convergence.
    """
    return adjoint_surface(model, ThroughSolver(), prepare, cost)
