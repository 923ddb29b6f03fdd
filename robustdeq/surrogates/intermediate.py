"""Gradients of a few unrolled steps from an intermediate state."""

from dataclasses import dataclass

from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.surface import Surface
from robustdeq.surfaces.network import Prepare
from robustdeq.surfaces.states import intermediate_surface
from robustdeq.surrogates.base import StateSurrogate


@dataclass(frozen=True)
class Intermediate(StateSurrogate):
    """head(w_K), unrolled from an iterate of the deployed solver.

        w_0 = f(z_state),  w_k = (1 - damping) w_{k-1} + damping f(w_{k-1}),  k = 1 ... K

    Yang, Pang and Liu (2022, "A Closer Look at the Adversarial Robustness of Deep Equilibrium
    Models"), section 4.2. Their index i counts from z_{i+1}, so i = 0 is `state` = 1; their lengths
    K are 1, 5 and 9 and their dampings 1 and 0.5. What is attacked is the read-out of w_K; what is
    judged is the deployed answer.

    Attributes:
        state: step number of the iterate, 0 being the solver's start.
        unroll: K, differentiable steps after the first.
    """

    state: int = 1
    unroll: int = 1
    damping: float = 1.0

    def __post_init__(self):
        if self.state < 0 or self.unroll < 0 or not 0 < self.damping <= 1:
            raise SpecError(
                f"state {self.state}, unroll {self.unroll}, damping {self.damping}; expected a "
                f"step number and a count from 0 on, and a damping in (0, 1]"
            )

    @property
    def deepest(self) -> int:
        return self.state

    def surface(self, model: EquilibriumNetwork, prepare: Prepare) -> Surface:
        return intermediate_surface(model, self.state, self.unroll, self.damping, prepare)
