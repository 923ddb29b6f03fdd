"""Where a Lyapunov projection may stand in an equilibrium network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robustdeq.adjoints.exact import Exact
from robustdeq.models.cells import Cell
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.lyapunov import LyapunovProjection

State = Float[Tensor, "batch *state"]


class ProjectedLayer(nn.Module):
    """One projection after the equilibrium, as a layer: the state is both place and velocity.

    V is convex with V(0) = 0, so grad V . z >= V(z) >= 0: the projection always acts. With
    V = floor |z|^2 it is z -> -(alpha / 2) z, whatever the floor.
    """

    def __init__(self, projection: LyapunovProjection):
        super().__init__()
        self.projection = projection

    def forward(self, z: State) -> State:
        flat = z.flatten(1)
        return self.projection(flat, flat).reshape(z.shape)


class ProjectedCell(Cell):
    """z + F~(z; u) with F~ the projected residual field f(z; u) - z: Euler steps of length 1.

    Its only equilibrium is near 0, whatever u; what a solver returns is decided by where it stops.
    """

    def __init__(self, cell: Cell, projection: LyapunovProjection):
        super().__init__()
        self.cell, self.projection = cell, projection

    def forward(self, z: State, u: Tensor) -> State:
        return z + self.velocity(z, u)

    def velocity(self, z: State, u: Tensor) -> State:
        """F~(z; u)."""
        v = self.cell(z, u) - z
        return self.projection(z.flatten(1), v.flatten(1)).reshape(z.shape)


class FlowCell(Cell):
    """One step of the classical Runge-Kutta method (Kutta 1901) along the projected field."""

    def __init__(self, cell: ProjectedCell, step: float):
        super().__init__()
        self.cell, self.step = cell, step

    def forward(self, z: State, u: Tensor) -> State:
        h, field = self.step, self.cell.velocity
        k1 = field(z, u)
        k2 = field(z + h / 2 * k1, u)
        k3 = field(z + h / 2 * k2, u)
        k4 = field(z + h * k3, u)
        return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class CentredInjection(nn.Module):
    """(u, z*) side by side along the channels, z* being the equilibrium without the projection.

    z* has its own exact derivative; a centre that is a constant would hide the gradient.
    """

    def __init__(self, nominal: DEQClassifier):
        super().__init__()
        self.nominal = nominal

    def forward(self, x: Tensor) -> Tensor:
        model = self.nominal
        problem = model.problem(x)
        z = Exact().solve(problem, model.solver).z
        return torch.cat([problem.context[0], model.layout.shaped(z)], dim=1)


class CentredCell(Cell):
    """The projected field with V centred at z*, which therefore stays the equilibrium."""

    def __init__(self, cell: Cell, projection: LyapunovProjection):
        super().__init__()
        self.cell, self.projection = cell, projection

    def forward(self, z: State, u: Tensor) -> State:
        u, centre = u.chunk(2, dim=1)
        v = self.cell(z, u) - z
        projected = self.projection((z - centre).flatten(1), v.flatten(1))
        return z + projected.reshape(z.shape)
