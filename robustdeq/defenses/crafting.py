"""The network under training as an attack sees it, for defences that craft their inputs."""

from robustdeq.models.base import Classifier
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_surface import EquilibriumSurface
from robustdeq.models.surface import network_surface
from robustdeq.solvers.anderson import Anderson
from robustdeq.surface import Surface


def training_surface(classifier: Classifier) -> Surface:
    """Logits and gradients for an inner maximisation; nothing is confirmed, no row is dropped.

    The tolerances are training's, ten times looser than the deployed ones: between two steps of the
    outer problem the weights move the equilibrium further than that.
    """
    if isinstance(classifier, DEQClassifier):
        loose = Anderson(tol=1e-2, max_steps=20, every=2)
        return EquilibriumSurface(classifier, solver=loose, adjoint_solver=loose)
    return network_surface(lambda x, rows: classifier(x))
