"""The opponents: torchdeq behind the field's unmodified attack libraries, on our weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchdeq import get_deq

from robustdeq.attacks.torchattacks import TorchAttacks
from robustdeq.models.deq import DEQClassifier
from robustdeq.surface import Cost, Surface
from robustdeq.surfaces.network import AutogradSurface, counted
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Settings:
    """How torchdeq is run: relative tolerances, the same solver for state and adjoint.

    Its own limit of 40 steps stays: its batches stop with their slowest row, which a higher limit
    only lets wait longer.
    """

    solver: str = "fixed_point_iter"
    tol: float = 1e-3
    batch_size: int = 64
    max_steps: int = 40

    def __str__(self) -> str:
        return f"{self.solver}, tol {self.tol:g}, batch {self.batch_size}"


class TorchDEQ(nn.Module):
    """A network of ours whose equilibrium torchdeq finds and differentiates (Geng and Kolter 2023).

    The gradient is torchdeq's implicit one. `cost` counts every evaluation of the cell and every
    vector-Jacobian product, per image.
    """

    def __init__(self, model: DEQClassifier, settings: Settings, cost: Cost):
        super().__init__()
        self.model, self.cost = model, cost
        self.core = get_deq(
            ift=True,
            f_solver=settings.solver,
            b_solver=settings.solver,
            f_max_iter=settings.max_steps,
            b_max_iter=settings.max_steps,
            f_tol=settings.tol,
            b_tol=settings.tol,
            f_stop_mode="rel",
            b_stop_mode="rel",
        )

    def forward(self, x: Tensor) -> Tensor:
        # In evaluation mode torchdeq returns its state without a gradient.
        self.core.train(torch.is_grad_enabled())
        u = self.model.inject(x)
        z0 = u.new_zeros(len(x), *self.model.state)
        states, _ = self.core(lambda z: counted(self.model.cell(z, u), self.cost), z0)
        return self.model.head(states[-1])


def torchdeq_surface(model: DEQClassifier, settings: Settings) -> Surface:
    """The opponent's network as the libraries' adapters want it; its cost is the network's."""
    cost = Cost()
    net = TorchDEQ(model, settings, cost)
    return AutogradSurface(lambda x, rows: net(x), lambda x, rows: net(x), cost)


def library_pgd(steps: int, threat: ThreatModel) -> TorchAttacks:
    """torchattacks' PGD with the step of ours, a quarter of the radius."""
    return TorchAttacks("PGD", (("steps", steps), ("alpha", str(threat.eps / 4))))
