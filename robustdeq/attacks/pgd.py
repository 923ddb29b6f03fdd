"""Projected gradient ascent with a fixed step."""

from dataclasses import dataclass, field
from fractions import Fraction

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.incumbents import Incumbents
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.surface import Surface
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent on the negated objective.

        x_{k+1} = project(x_k + step * eps * steepest(grad L(x_k)))

    Madry et al. 2018 ("Towards deep learning models resistant to adversarial attacks"), section
    2.1. `step` is a fraction of the radius; the default is that of their CIFAR-10 experiments,
    2/255 of 8/255.

    Unlike the original it keeps the iterate of highest objective, not only the last, and stops work
    on rows whose loss the deployed predictor confirmed. Each restart costs `steps` gradients and
    one value per active row.

    Raises:
        SpecError: a count below 1, or a step that is not positive.
    """

    steps: int = 20
    restarts: int = 1
    step: Fraction = Fraction(1, 4)
    random_start: bool = True
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self):
        require_counts(self, "steps", "restarts")
        if self.step <= 0:
            raise SpecError(f"step = {self.step}; expected a positive fraction of the radius")

    def perturb(
        self,
        surface: Surface,
        x: Float[Tensor, "batch *image"],
        y: Int[Tensor, " batch"],
        rows: Int[Tensor, " batch"],
        threat: ThreatModel,
        noise: NoiseStream,
    ) -> Float[Tensor, "candidates batch *image"]:
        found = Incumbents(surface, x, y, rows)
        for restart in range(self.restarts):
            self._climb(found, threat, noise.child("pgd"), restart)
        return found.candidates()

    def _climb(
        self, found: Incumbents, threat: ThreatModel, noise: NoiseStream, restart: int
    ) -> None:
        step = float(threat.eps * self.step)
        index = found.active()
        current = found.x[index]
        if self.random_start:
            current = found.surface.start(
                current, found.y[index], found.rows[index], threat, noise, restart
            )
        for _ in range(self.steps):
            if not len(index):
                return
            reading = found.surface.value_and_grad(
                current, found.y[index], self.objective, found.rows[index]
            )
            assert reading.gradient is not None
            keep = found.observe(index, current, reading)
            index, current, gradient = index[keep], current[keep], reading.gradient[keep]
            current = threat.project(current + step * threat.steepest(gradient), found.x[index])
        if len(index):
            reading = found.surface.value(
                current, found.y[index], self.objective, found.rows[index]
            )
            found.observe(index, current, reading)
