"""A solver that is stopped after a few steps and calls that its depth."""

from dataclasses import dataclass
from typing import ClassVar

from robustdeq.adjoints.implicit import Implicit
from robustdeq.defenses.base import Card, DefendedModel, Task, Wrapper
from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.testing.impostors.base import Form, Impostor, network_of

DEPTH = 2


def hasty(network: EquilibriumNetwork) -> EquilibriumNetwork:
    """The same weights, two steps deep, with the gradient of an equilibrium."""
    return network.replaced(solver=FixedDepth(max_steps=DEPTH), adjoint=Implicit())


@dataclass(frozen=True)
class Hasty(Wrapper):
    """The base's network, stopped early."""

    card: ClassVar[Card] = Card("An impostor", "made up to be caught")

    def build(self, task: Task) -> Classifier:
        network = self.base.build(task)
        assert isinstance(network, EquilibriumNetwork)
        return hasty(network)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return DefendedModel(Hasty(twin.defense), hasty(network_of(twin)), {})


EARLY_STOP = Impostor(
    "early-stop",
    "the implicit gradient is taken where nothing is an equilibrium, and no tolerance is declared",
    keeps_labels=False,
    forms=(Form("wrapped", "budget-dependent", _wrapped),),
    deceives=False,
)
