"""The network under training as an attack sees it."""

from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.fast import ASCENT, COMPARISON, FastSurface, affordable
from robustdeq.surfaces.network import network_surface, through_solver_surface


def training_surface(classifier: Classifier) -> Surface:
    """Logits and gradients for an inner maximisation; nothing is confirmed, no row is dropped.

    Of an equilibrium the fast surface: between two optimiser steps the weights move it further than
    its state lags behind there; a row's first state takes no more steps than the network's own
    budget. Of a solver that stops short of equilibria, its steps.
    """
    if isinstance(classifier, EquilibriumNetwork):
        if classifier.solver.finds_equilibria:
            start, compare = (affordable(s, classifier) for s in (ASCENT, COMPARISON))
            return FastSurface(classifier, solver=start, value_solver=compare)
        return through_solver_surface(classifier)
    return network_surface(lambda x, rows: classifier(x))
