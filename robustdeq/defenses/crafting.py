"""The inner maximisation of defenses that craft their inputs."""

from fractions import Fraction

from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.base import Attack
from robustdeq.defenses.base import Batch, DefendedModel
from robustdeq.noise import TrainingNoise
from robustdeq.objectives.base import Objective
from robustdeq.surface import Surface


def found_by(attack: Attack, target: DefendedModel, batch: Batch, noise: TrainingNoise) -> Tensor:
    """What an attack puts forward first (B, *image) against the network under training."""
    surface, stream = target.defense.crafting_surface(target, noise), noise.stream.child("craft")
    return attack.perturb(Approach(surface), batch.samples, batch.threat, stream)[0]


def ascend(
    surface: Surface,
    x: Tensor,
    batch: Batch,
    objective: Objective,
    steps: int,
    step: Fraction,
    target: Tensor | None = None,
) -> Tensor:
    """The point (B, *image) after some steepest steps from x, each projected onto the threat set.

    Args:
        step: as a fraction of the radius.
        target: what the objective compares with, if anything.
    """
    threat, size = batch.threat, float(batch.threat.eps * step)
    for _ in range(steps):
        reading = surface.value_and_grad(batch.samples.moved(x), objective, target)
        assert reading.gradient is not None
        x = threat.project(x + size * threat.steepest(reading.gradient), batch.x)
    return x
