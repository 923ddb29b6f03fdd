"""The white-box view of an equilibrium network: exact gradients at the price of a warm solve."""

import torch
from torch import Tensor

from robustdeq.adjoints.exact import Exact
from robustdeq.adjoints.implicit import AdjointProblem, Implicit
from robustdeq.equilibrium import Equilibrium
from robustdeq.gradients import gradient_of
from robustdeq.models.anchored import AnchoredStates
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.models.rows import RowStore
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import Solver, solve
from robustdeq.surface import Reading
from robustdeq.surfaces.best_states import BestStates
from robustdeq.surfaces.network import (
    Prepare,
    Rows,
    StateSurface,
    through_solver_surface,
    unchanged,
)


class EquilibriumSurface(StateSurface):
    """The equilibrium and its implicit gradient, each row warm-started where that is safe.

    The function is the deployed one up to the solver's tolerance: `AnchoredStates` sees to that.
    Where a row has more than one equilibrium in reach, or its solve or adjoint misses the
    tolerance, an implicit gradient knows nothing of the jump to come: such a row is read cold,
    through the deployed steps. So no gradient is ever a truncated one. For all others one
    evaluation with a graph, at the solved state, serves the logits, the objective and the last
    product with the adjoint, which is linear and may always start warm.

    Args:
        solver: of the state; by default the deployed one.
        adjoint_solver: of v = J^T v + dL/dz.
    """

    def __init__(
        self,
        model: EquilibriumNetwork,
        prepare: Prepare = unchanged,
        solver: Solver | None = None,
        adjoint_solver: Solver | None = None,
    ):
        super().__init__(model, prepare)
        self._solver = solver or model.solver
        self._adjoint_solver = adjoint_solver or Anderson(every=2)
        self._states, self._adjoints = AnchoredStates(), RowStore()
        self._best = BestStates(AnchoredStates)
        self._cold = through_solver_surface(model, prepare, self.cost)

    def _value(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        images, rows = samples.images, samples.positions
        logits, state = self._deployed_logits(images, rows, self._best.under(objective))
        value = objective.score(View(logits), samples.labels, target)
        self._best.put(rows, state.z, value)
        return Reading(value, logits)

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        near = (~self._states.parted(samples.positions)).nonzero()[:, 0]
        reading, exact = self._implicit(samples.select(near), objective, _take(target, near))
        if len(near) == len(samples) and bool(exact.all()):
            return reading
        done = torch.zeros(len(samples), dtype=torch.bool, device=near.device)
        done[near[exact]] = True
        redo = (~done).nonzero()[:, 0]
        steps = self._cold._gradient(samples.select(redo), objective, _take(target, redo))
        return _joined(len(samples), (near, reading), (redo, steps))

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        logits, state = self._deployed_logits(x, rows, self._states)
        if rows is not None:
            self._states.put(rows, state.z)
        return logits

    def _deployed_logits(
        self, x: Tensor, rows: Rows, store: AnchoredStates
    ) -> tuple[Tensor, Equilibrium]:
        """Logits and states, warm-started from `store`; a row that missed is answered cold."""
        problem = self._problem(x, rows)
        state = store.solve(problem, self._solver, rows)
        logits = self._model.readout(state.z)
        missed = (~state.converged).nonzero()[:, 0]
        if rows is None or not len(missed):
            return logits, state
        cold = self._cold._logits(x[missed], rows[missed])
        return logits.index_copy(0, missed, cold), state

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        problem = self._problem(x, rows)
        adjoint = Exact(Implicit(self._adjoint_solver))
        return self._model.readout(adjoint.solve(problem, self._model.solver).z)

    def _implicit(
        self, samples: Samples, objective: Objective, target: Tensor | None
    ) -> tuple[Reading, Tensor]:
        """The reading with the implicit gradient, and which rows it is exact for."""
        rows = samples.positions
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_()
            problem = self._problem(leaf, rows)
        state = self._states.solve(problem, self._solver, rows)
        with torch.enable_grad():
            z = state.z.clone().requires_grad_()
            logits = self._model.readout(z)
            value = objective.score(View(logits), samples.labels, target)
            g = gradient_of(value.sum(), z)
        adjoint_problem = AdjointProblem(problem, z, g)
        v = solve(adjoint_problem, self._adjoint_solver, warm=self._adjoints.get(rows, g))
        self._states.put(rows, state.z)
        self._adjoints.put(rows, v.z)
        gradient = gradient_of(adjoint_problem.fz, leaf, v.z)
        reading = Reading(value.detach(), logits.detach(), gradient)
        return reading, state.converged & v.converged


def _take(part: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if part is None else part[rows]


def _joined(count: int, *parts: tuple[Tensor, Reading]) -> Reading:
    """One reading of `count` rows; where two parts hold a row, the later one's stands."""
    fields = []
    for name in ("value", "logits", "gradient"):
        pieces = [(rows, getattr(part, name)) for rows, part in parts]
        whole = pieces[0][1].new_empty(count, *pieces[0][1].shape[1:])
        for rows, piece in pieces:
            whole = whole.index_copy(0, rows, piece)
        fields.append(whole)
    return Reading(*fields)
