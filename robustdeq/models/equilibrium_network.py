"""The contract of an equilibrium network: what attacks, audits and defenses may use of one."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.exact import Exact
from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.equilibrium import CellProblem, Equilibrium
from robustdeq.errors import SpecError, UnknownName
from robustdeq.models.base import Classifier, Deployment, Prediction
from robustdeq.noise import RowNoise
from robustdeq.solvers.base import Solver, replay, solve

Module = TypeVar("Module", bound=nn.Module)

# What torch keeps of a module in tables, which a shallow copy would share.
_TABLES = tuple(n for n, value in vars(nn.Module()).items() if isinstance(value, dict | set))


class EquilibriumNetwork(Classifier):
    """A classifier that reads its logits from a fixed point: logits = readout(z*), z* = f(z*; x).

    A network of another package is a peer once it has `problem`, `readout` and a `solver`: the
    harness then attacks, judges and audits it as its own.

    Attributes:
        solver: the deployed one; its tolerance and budget are part of the model.
        adjoint: the rule that trains the network. An attack brings its own.
        state: the shape of one row's state; empty where no image has told it yet.
    """

    solver: Solver
    adjoint: Adjoint = Exact()
    state: tuple[int, ...] = ()

    @abstractmethod
    def problem(self, x: Float[Tensor, "batch *image"]) -> CellProblem:
        """The fixed-point problem of a batch, in the graph of x and of the parameters."""

    @abstractmethod
    def readout(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits of flat states."""

    def replaced(self, **fields: Any) -> "EquilibriumNetwork":
        """The same weights, shared, with some fields exchanged and every other one kept.

        A field is what the network holds under a public name: its solver and adjoint, a layer, a
        parameter, a buffer or a plain value.

        Raises:
            UnknownName: it holds nothing under a name; the message offers the nearest one.
        """
        known = self._fields()
        for name in fields:
            if name not in known:
                raise UnknownName(f"field of {type(self).__name__}", name, known)
        other = _shallow(self)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    def _fields(self) -> set[str]:
        held = {*vars(self), *self._modules, *self._parameters, *self._buffers}
        own = {name for name in held - {"training"} if not name.startswith("_")}
        return own | {"solver", "adjoint", "state"}

    def solve(self, x: Float[Tensor, "batch *image"], record: Sequence[int] = ()) -> Equilibrium:
        """The deployed equilibrium, cold."""
        return solve(self.problem(x), self.solver, record)

    def iterate(self, problem: CellProblem, number: int) -> Float[Tensor, "batch dim"]:
        """The deployed solver's state of a number (0 is the start), in the graph of its steps.

        A row that has converged before is read where it stopped.
        """
        if number == 0:
            return problem.z0
        solver = replace(self.solver, max_steps=number)
        equilibrium = solve(problem, solver, record=(number,))
        assert equilibrium.states is not None
        if not torch.is_grad_enabled():
            return equilibrium.states[0]
        stopped = torch.where(equilibrium.converged, equilibrium.returned_at, number)
        return replay(problem, solver, stopped)

    def features(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Flat states in an order that does not hang on how they lie in memory."""
        return z

    def probe(self, noise: RowNoise, z: Float[Tensor, "batch dim"], draw: int = 0) -> Tensor:
        """Standard normal numbers, one for each of every row's state z."""
        return noise.normal(tuple(z.shape[1:]), draw).to(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.adjoint.solve(self.problem(x), self.solver).z)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Prediction:
        equilibrium = self.solve(x)
        return Prediction(
            self.readout(equilibrium.z),
            equilibrium.nfe,
            equilibrium.residual,
            equilibrium.converged,
        )

    def deployment(self) -> Deployment:
        tol = self.solver.tol
        return Deployment(
            self.solver.plugin_name(), tol if tol < float("inf") else None, self.solver.max_steps
        )


def through_solvers(network: Module) -> Module:
    """The same weights, shared, every equilibrium inside differentiated through its solver's steps.

    Whatever trains a network, an attack never follows its truncated gradient. That of the steps is
    right of every row, and can be differentiated once more, as a defense that descends a gradient
    of its network needs it; an implicit one cannot.
    """
    if not any(isinstance(each, EquilibriumNetwork) for each in network.modules()):
        return network
    other = _shallow(network)
    for name, child in network._modules.items():
        if child is not None:
            setattr(other, name, through_solvers(child))
    if isinstance(other, EquilibriumNetwork):
        other.adjoint = ThroughSolver()
    return other


def _shallow(network: Module) -> Module:
    """A copy that shares what it holds, and no table that torch holds it in."""
    other = copy.copy(network)
    for table in _TABLES:
        vars(other)[table] = copy.copy(vars(network)[table])
    return other


def require_equilibrium(classifier: Classifier, who: str) -> EquilibriumNetwork:
    """The network, if it has an equilibrium.

    Raises:
        SpecError: it has none; the message names `who` needs one.
    """
    if isinstance(classifier, EquilibriumNetwork):
        return classifier
    raise SpecError(
        f"{who} needs the states of an equilibrium network, and {type(classifier).__name__} has "
        f"none; wrap vanilla, for example"
    )
