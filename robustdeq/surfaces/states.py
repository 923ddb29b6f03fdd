"""Surfaces of intermediate states: what the network would answer if it stopped on the way."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from robustdeq.equilibrium import CellProblem
from robustdeq.gradients import gradient_of
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.solvers.base import solve
from robustdeq.surface import Cost, Reading
from robustdeq.surfaces.network import (
    AutogradSurface,
    Prepare,
    Rows,
    StateSurface,
    counted_problem,
    unchanged,
)

Features = Callable[[CellProblem], Tensor]  # problem -> states (B, D), differentiable


def intermediate_surface(
    model: EquilibriumNetwork,
    state: int,
    unroll: int,
    damping: float,
    prepare: Prepare = unchanged,
) -> AutogradSurface:
    """head(w_K) with w_0 = f(z_state) and w_k = (1 - damping) w_{k-1} + damping f(w_{k-1}).

    z_state is the deployed solver's iterate, cold and without a graph; K = `unroll`.
    """

    def features(problem: CellProblem) -> Tensor:
        with torch.no_grad():
            z = model.iterate(problem, state)
        w = problem(z)
        for _ in range(unroll):
            w = w.lerp(problem(w), damping)
        return w

    return _readout_surface(model, features, prepare)


def replayed_surface(
    model: EquilibriumNetwork,
    state: int,
    prepare: Prepare = unchanged,
) -> AutogradSurface:
    """head(z_state), differentiated through all `state` steps of the deployed solver."""

    def features(problem: CellProblem) -> Tensor:
        return model.iterate(problem, state)

    return _readout_surface(model, features, prepare)


def state_average_surface(
    model: EquilibriumNetwork,
    states: int,
    prepare: Prepare = unchanged,
) -> AutogradSurface:
    """The head of the mean feature state; each state z_1 ... z_n and z* has the gradient of f."""

    def features(problem: CellProblem) -> Tensor:
        equilibrium = solve(problem, model.solver, record=range(1, states + 1))
        assert equilibrium.states is not None
        total = problem(equilibrium.z)
        # The value is the mean of the states themselves; f stands in for its derivative only.
        total = total + (equilibrium.z - total.detach())
        for z in equilibrium.states:
            fz = problem(z)
            total = total + fz + (z - fz.detach())
        return total / (states + 1)

    return _readout_surface(model, features, prepare)


class SimultaneousSurface(StateSurface):
    """State and adjoint solved in one loop, the objective inside it.

        s_{n+1} = J(z_n)^T s_n + grad_z L(h(z_n)),   z_{n+1} = f(z_n),   G_n = (df/dx at z_n)^T s_n

    from z_0 = 0 and s_0 = 0. A reconstruction of the simultaneous adjoint of Yang, Pang and Liu
    (2022, "A Closer Look at the Adversarial Robustness of Deep Equilibrium Models", section 4.1),
    whose model code is not public; theirs reuses quasi-Newton factors, ours takes Picard steps, and
    ours takes any objective, not cross-entropy alone. It reads z_n, so its logits are those of an
    unfinished solve.

    Args:
        steps: n.
    """

    logits_form = False

    def __init__(
        self,
        model: EquilibriumNetwork,
        steps: int,
        prepare: Prepare = unchanged,
    ):
        super().__init__(model, prepare)
        self._steps = steps

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_()
            problem = self._problem(leaf, samples.positions)
        fixed = replace(problem, context=tuple(c.detach() for c in problem.context))
        z, s = problem.z0, torch.zeros_like(problem.z0)
        for _ in range(self._steps):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                fz = fixed(z)
                value = objective.score(View(self._model.readout(z)), samples.labels, target)
                g = gradient_of(value.sum(), z)
            z, s = fz.detach(), gradient_of(fz, z, s) + g
        with torch.enable_grad():
            gradient = gradient_of(problem(z), leaf, s)
        logits = self._model.readout(z)
        return Reading(objective.score(View(logits), samples.labels, target), logits, gradient)

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        problem = self._problem(x, rows)
        z = problem.z0
        for _ in range(self._steps):
            z = problem(z)
        return self._model.readout(z)

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        raise AssertionError("logits_form is False")


def _readout_surface(
    model: EquilibriumNetwork, features: Features, prepare: Prepare
) -> AutogradSurface:
    cost = Cost()

    def logits(x: Tensor, rows: Rows) -> Tensor:
        return model.readout(features(counted_problem(model.problem(prepare(x, rows)), cost)))

    return AutogradSurface(logits, logits, cost)
