"""The reference gradient: through the deployed solver's own steps."""

from dataclasses import dataclass

from robustdeq.defenses.base import DefendedModel, overrides
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.surface import through_solver_surface
from robustdeq.noise import NoiseStream
from robustdeq.surface import Surface
from robustdeq.surrogates.base import Surrogate, deployed, straight_through


@dataclass(frozen=True)
class ThroughSolverView(Surrogate):
    """Full backpropagation through the deployed T steps, cold.

    Right whether or not a row converges; what it breaks and `defended` does not is a warning about
    the implicit gradient.
    """

    def applies(self, target: DefendedModel) -> str | None:
        if not isinstance(target.classifier, DEQClassifier):
            return f"{target.defense.chain} has no equilibrium, so no solver to differentiate"
        if overrides(target.defense, "infer"):
            return f"{target.defense.chain} answers by its own `infer`, not by one solve"
        return None

    def bind(self, target: DefendedModel, noise: NoiseStream) -> Surface:
        model = target.classifier
        assert isinstance(model, DEQClassifier)
        return through_solver_surface(
            model, deployed(target, noise), straight_through(target, noise)
        )
