"""The network under training as an attack sees it, for defences that craft their inputs."""

from robustdeq.models.base import Classifier
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_surface import EquilibriumSurface
from robustdeq.models.surface import network_surface
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.picard import Picard
from robustdeq.surface import Surface

LOOSE = Anderson(tol=3e-2, max_steps=20, every=2)


def training_surface(classifier: Classifier) -> Surface:
    """Logits and gradients for an inner maximisation; nothing is confirmed, no row is dropped.

    The state is solved loosely, because between two optimiser steps the weights move it further
    than that, and the adjoint takes one warm Picard step per visit: it converges along the ascent,
    as the perturbation does (the idea of JIIO, Gurumurthy et al. 2021, without its joint solver).
    """
    if isinstance(classifier, DEQClassifier):
        one_step = Picard(tol=1e-2, max_steps=1)
        return EquilibriumSurface(classifier, solver=LOOSE, adjoint_solver=one_step, exact=False)
    return network_surface(lambda x, rows: classifier(x))
