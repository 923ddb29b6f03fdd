"""The network under training as an attack sees it, for defences that craft their inputs."""

from robustdeq.models.base import Classifier
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.fast_surface import FastSurface
from robustdeq.models.surface import network_surface
from robustdeq.surface import Surface


def training_surface(classifier: Classifier) -> Surface:
    """Logits and gradients for an inner maximisation; nothing is confirmed, no row is dropped.

    The fast surface: between two optimiser steps the weights move an equilibrium further than its
    state lags behind here.
    """
    if isinstance(classifier, DEQClassifier):
        return FastSurface(classifier)
    return network_surface(lambda x, rows: classifier(x))
