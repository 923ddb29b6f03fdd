"""The surface of a whole solve: states and residuals of every step, in one graph."""

import torch
from torch import Tensor

from robustdeq.equilibrium import residual
from robustdeq.gradients import gradient_of
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.solvers.base import Memory
from robustdeq.surface import Cost, Reading
from robustdeq.surfaces.network import Prepare, Rows, StateSurface, unchanged


class PathSurface(StateSurface):
    """What the deployed solver's update rule passes through in `steps` steps, never stopping.

    Logits are those of the last state; `states` are z_0 ... z_steps, `residuals` theirs, and
    `path_logits` what the network would answer at each: both computed only for an objective that
    needs them. So an objective can reach for the dynamics themselves. Memory grows with the steps.
    """

    shows = frozenset({"logits", "states", "residuals", "path_logits"})

    def __init__(
        self,
        model: EquilibriumNetwork,
        steps: int,
        prepare: Prepare = unchanged,
        cost: Cost | None = None,
    ):
        super().__init__(model, prepare, cost)
        self._steps = steps

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_()
            view = self._view(leaf, samples.positions, objective.needs)
            value = objective.score(view, samples.labels, target)
            gradient = gradient_of(value.sum(), leaf)
        return Reading(value.detach(), view.logits.detach(), gradient)

    def _view(self, x: Tensor, rows: Rows, needs: frozenset[str] = frozenset()) -> View:
        problem = self._problem(x, rows)
        z, memory = problem.z0, Memory()
        states, residuals = [], []
        for number in range(self._steps + 1):
            fz = problem(z)
            states.append(z)
            if "residuals" in needs:
                residuals.append(residual(z, fz))
            if number < self._steps:
                z = self._model.solver.step(number, z, fz, memory)
        path, logits = torch.stack(states), None
        if "path_logits" in needs:
            logits = self._model.readout(path.flatten(0, 1)).unflatten(0, path.shape[:2])
        measured = torch.stack(residuals) if residuals else None
        return View(self._model.readout(z), path, measured, logits)

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        return self._view(x, rows).logits

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        return self._view(x, rows).logits
