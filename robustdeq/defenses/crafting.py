"""The network under training as an attack sees it, for defences that craft their inputs."""

from fractions import Fraction

from torch import Tensor

from robustdeq.attacks.base import Attack
from robustdeq.defenses.base import Batch, DefendedModel
from robustdeq.models.base import Classifier
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.fast_surface import ASCENT, COMPARISON, FastSurface, affordable
from robustdeq.models.surface import network_surface, through_solver_surface
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective
from robustdeq.surface import Surface


def training_surface(classifier: Classifier) -> Surface:
    """Logits and gradients for an inner maximisation; nothing is confirmed, no row is dropped.

    Of an equilibrium the fast surface: between two optimiser steps the weights move it further than
    its state lags behind there; a row's first state takes no more steps than the network's own
    budget. Of a solver that stops short of equilibria, its steps.
    """
    if isinstance(classifier, DEQClassifier):
        if classifier.solver.finds_equilibria:
            start, compare = (affordable(s, classifier) for s in (ASCENT, COMPARISON))
            return FastSurface(classifier, solver=start, value_solver=compare)
        return through_solver_surface(classifier)
    return network_surface(lambda x, rows: classifier(x))


def found_by(attack: Attack, target: DefendedModel, batch: Batch, noise: NoiseStream) -> Tensor:
    """What an attack puts forward first (B, *image) against the network under training."""
    surface = training_surface(target.classifier)
    return attack.perturb(surface, batch.x, batch.y, batch.rows, batch.threat, noise)[0]


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
        reading = surface.value_and_grad(x, batch.y, objective, batch.rows, target)
        assert reading.gradient is not None
        x = threat.project(x + size * threat.steepest(reading.gradient), batch.x)
    return x
