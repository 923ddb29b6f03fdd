"""The fast white-box view: solver, adjoint and perturbation advance together."""

from dataclasses import replace

import torch
from torch import Tensor

from robustdeq.adjoints.implicit import Implicit
from robustdeq.equilibrium import CellProblem
from robustdeq.gradients import gradient_of, gradients_of
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.models.rows import RowStore
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import Solver, solve
from robustdeq.solvers.picard import Picard
from robustdeq.surface import Reading
from robustdeq.surfaces.best_states import BestStates
from robustdeq.surfaces.network import (
    Prepare,
    Rows,
    StateSurface,
    unchanged,
)

ASCENT = Anderson(tol=3e-2, max_steps=60, every=3, history=3)
# From the best point's state a looser one is met before the change of the input arrives in it.
COMPARISON = Picard(tol=3e-3)


def affordable(solver: Solver, model: EquilibriumNetwork) -> Solver:
    """A solver with at most the steps that the model itself may take.

    What trains or crafts on a device that can take only K steps may not take more unseen.
    """
    return replace(solver, max_steps=min(solver.max_steps, model.solver.max_steps))


class FastSurface(StateSurface):
    """One evaluation and one vector-Jacobian product a step, however slowly the cell converges.

    State z and adjoint v of each row are kept from visit to visit. One graph of f at z serves
    everything: the logits read f(z), a Picard step ahead of z; and with g = dL/df the single
    backward pass of

        v = w + g,    (dL/dx, w') = (df/dx, df/dz)^T v

    gives the gradient by x and w' = J^T v for the next visit. So the adjoint takes one Picard step
    per visit, with a Jacobian one step old, and converges along the ascent as z does. That is the
    idea of joint inference and input optimisation (Gurumurthy et al. 2021, section 3), with the
    input step left to the attack.

    Values are those of a loosely solved state. So success here is never success: it has to be
    confirmed by the deployed predictor, and a row that is not is attacked on.

    Args:
        solver: of the state that the first visit of a row starts from.
        value_solver: of values without a gradient, which a search compares with one another.
    """

    def __init__(
        self,
        model: EquilibriumNetwork,
        prepare: Prepare = unchanged,
        solver: Solver = ASCENT,
        value_solver: Solver = COMPARISON,
    ):
        super().__init__(model, prepare)
        self._solver, self._value_solver = solver, value_solver
        self._states, self._products = RowStore(), RowStore()
        self._best = BestStates(RowStore)

    def _value(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        rows = samples.positions
        z = self._solve(samples.images, rows, self._best.under(objective))
        logits = self._model.readout(z)
        value = objective.score(View(logits), samples.labels, target)
        self._best.put(rows, z, value)
        return Reading(value, logits)

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        rows = samples.positions
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_()
            problem = self._problem(leaf, rows)
        z = self._start(problem, rows)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            fz = problem(z)
            ahead = fz.detach().requires_grad_()
            logits = self._model.readout(ahead)
            value = objective.score(View(logits), samples.labels, target)
            g = gradient_of(value.sum(), ahead)
        v = g + self._products.get(rows, torch.zeros_like(g))
        gradient, product = gradients_of(fz, (leaf, z), v)
        self._states.put(rows, ahead.detach())
        self._products.put(rows, product)
        return Reading(value.detach(), logits.detach(), gradient)

    def _start(self, problem: CellProblem, rows: Tensor) -> Tensor:
        """The state to look from: the last one, or a loosely solved one at the first visit."""
        known = self._states.knows(rows)
        if bool(known.all()):
            return self._states.get(rows, problem.z0)
        fresh = (~known).nonzero()[:, 0]
        first = solve(problem.select(fresh), self._solver).z
        return self._states.get(rows, problem.z0).index_copy(0, fresh, first)

    def _solve(self, x: Tensor, rows: Tensor, store: RowStore) -> Tensor:
        problem = self._problem(x, rows)
        return solve(problem, self._value_solver, warm=store.get(rows, problem.z0)).z

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        if rows is None:
            return self._model.readout(solve(self._problem(x, rows), self._solver).z)
        return self._model.readout(self._solve(x, rows, self._states))

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        """For callers that cannot name samples: nothing is kept, state and adjoint solved loosely.

        So the logits are a plain function of x, as randomness checks of libraries want it.
        """
        problem = self._problem(x, rows)
        equilibrium = solve(problem, self._solver)
        z = Implicit(self._solver).attach(problem, equilibrium, self._solver)
        return self._model.readout(z)
