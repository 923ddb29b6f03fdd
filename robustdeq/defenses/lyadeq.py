"""A DEQ with a learned Lyapunov function, in the style of LyaDEQ."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from torch import Tensor, nn

from robustdeq.adjoints.through_solver import ThroughSolver
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Card, DefendedModel, Defense, Task
from robustdeq.defenses.regularised import equilibrium_penalty
from robustdeq.errors import SpecError
from robustdeq.models import linear_heads
from robustdeq.models.cells import TanhCell, normalised_injection
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.models.lyapunov import LyapunovFunction, LyapunovProjection
from robustdeq.models.projected import (
    CentredCell,
    CentredInjection,
    FlowCell,
    ProjectedCell,
    ProjectedLayer,
)
from robustdeq.noise import TrainingNoise
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.solvers.picard import Picard

_HEADS = MappingProxyType(
    {
        "plain": linear_heads.plain,
        "spectral": linear_heads.spectral,
        "orthogonal": linear_heads.orthogonal,
        "frozen-orthogonal": linear_heads.frozen_orthogonal,
    }
)
_BUDGET, _FLOW_STEPS = 16, 16  # declared where there is no equilibrium to converge to


@dataclass(frozen=True)
class LyaDEQ(Defense):
    """LyaDEQ-style (mode `layer`): a stability projection after the equilibrium, orthogonal head.

    The paper constrains a DEQ's dynamics by a learned convex Lyapunov function, and follows that
    with orthogonal layers, since stable fixed points lie close together. Its method section, its
    hyper-parameters and its tables could not be read; no code is public. So where the projection
    acts is a field, the mathematics is that of the ancestor (Kolter and Manek 2019), and every
    number below is ours. V is positive definite around 0, hence a system whose field is projected
    everywhere has no equilibrium but 0 (see `LyapunovProjection`).

    - `layer`: one projection of the equilibrium, as a layer of the head.
    - `solver`: the solver iterates the projected system. It has no equilibrium to speak of, so a
      budget of 16 steps is declared as the model.
    - `flow`: the projected field is integrated from the features over the time 1, in 16 steps of
      Runge and Kutta, whose number is declared as the model.
    - `centred`: V is centred at the equilibrium, which then stays one: a control. The evaluations
      of the inner solve are not counted.
    - `off`: no projection, the control of each.

    Lyapunov stability is about a solver's start at a fixed input, while an adversary moves the
    input; the projection deletes one direction of the gradient and bends it within `width`. So a
    row is attacked through three other backward passes of the projection as well.

    `results/reports/lyapunov.md` compares projections and heads, and starts of the solver.

    Attributes:
        channels: of the state; with the default the parameters are about those of `vanilla`.
        head: after the projection: "plain", of "spectral" norm 1, "orthogonal" or
            "frozen-orthogonal" (drawn, not trained).
        hidden: width of V's two layers.
        alpha: the decay rate of V.
        floor: V >= floor |z|^2.
        width: of the smoothed ReLU inside V.
        jacobian_penalty: as in `vanilla`; of modes with an equilibrium.
    """

    card: ClassVar[Card] = Card(
        title="Lyapunov-Stable Deep Equilibrium Models",
        citation="Chu, Wei, Liu, Zhao, Miyatake, AAAI 2024 (first: Learning Robust Deep "
        "Equilibrium Models, 2023)",
        equation="projection: Kolter and Manek, NeurIPS 2019, equation 8",
    )
    adaptive: ClassVar = tuple(
        {"name": "relaxed-projection", "backward": backward}
        for backward in ("identity", "smooth", "constant")
    )
    mode: Literal["layer", "solver", "flow", "centred", "off"] = "layer"
    head: Literal["orthogonal", "frozen-orthogonal", "spectral", "plain"] = "orthogonal"
    channels: int = 16
    hidden: int = 8
    alpha: float = 0.1
    floor: float = 0.01
    width: float = 0.1
    jacobian_penalty: float = 10.0

    def __post_init__(self):
        for name in ("channels", "hidden", "alpha", "floor", "width"):
            if not getattr(self, name) > 0:
                raise SpecError(f"lyadeq: {name} {getattr(self, name)}; expected above 0")

    def build(self, task: Task) -> EquilibriumNetwork:
        channels, height, width, in_channels = self.channels, *task.shape[1:], task.shape[0]
        state, inject = (channels, height, width), normalised_injection(in_channels, channels)
        nominal = DEQClassifier(
            inject, TanhCell(channels), self._head(task), state, Picard(), Unrolled()
        )
        if self.mode == "off":
            return nominal
        function = LyapunovFunction(channels * height * width, self.hidden, self.floor, self.width)
        return _PLACES[self.mode](nominal, LyapunovProjection(function, self.alpha))

    def penalty(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        weight = self.jacobian_penalty if model.solver.finds_equilibria else 0.0
        return equilibrium_penalty(model, model.problem(x), noise, weight)

    def _head(self, task: Task) -> nn.Module:
        _, height, width = task.shape
        features = self.channels * (height // 2) * (width // 2)
        return nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), _HEADS[self.head](features, task.classes)
        )


def _layer(nominal: DEQClassifier, projection: LyapunovProjection) -> EquilibriumNetwork:
    head = nn.Sequential(ProjectedLayer(projection), nominal.head)
    return nominal.replaced(head=head)


def _solver(nominal: DEQClassifier, projection: LyapunovProjection) -> EquilibriumNetwork:
    cell = ProjectedCell(nominal.cell, projection)
    return nominal.replaced(
        cell=cell, solver=FixedDepth(max_steps=_BUDGET), adjoint=ThroughSolver()
    )


def _flow(nominal: DEQClassifier, projection: LyapunovProjection) -> EquilibriumNetwork:
    cell = FlowCell(ProjectedCell(nominal.cell, projection), 1 / _FLOW_STEPS)
    return nominal.replaced(
        cell=cell,
        solver=FixedDepth(max_steps=_FLOW_STEPS),
        adjoint=ThroughSolver(),
        start=nn.Identity(),
    )


def _centred(nominal: DEQClassifier, projection: LyapunovProjection) -> EquilibriumNetwork:
    cell = CentredCell(nominal.cell, projection)
    return nominal.replaced(inject=CentredInjection(nominal), cell=cell)


_PLACES = MappingProxyType({"layer": _layer, "solver": _solver, "flow": _flow, "centred": _centred})
