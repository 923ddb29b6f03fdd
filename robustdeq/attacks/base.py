"""The contract of an attack."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

from jaxtyping import Float
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.search import Search
from robustdeq.errors import ContractViolation, SpecError
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.samples import Samples
from robustdeq.threats.base import ThreatModel


class Attack(Plugin, ABC):
    """A search for adversarial inputs on a surface.

    An attack knows no model and judges nothing: what its search found, up to three candidates a
    row, goes before the judge. `needs_logits_form` is set by library adapters, which can only
    attack a plain function from images to logits; `needs_gradient` is unset by searches that read
    answers alone.
    """

    kind: ClassVar[str] = "attacks"
    needs_logits_form: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        if "perturb" in vars(cls):
            raise SpecError(
                f"attack {cls.__name__} defines `perturb`, which asks every attack alike; write "
                f"`run(self, search)` instead, which looks at points through `search`"
            )

    @abstractmethod
    def run(self, search: Search) -> None:
        """Look at points of the threat set through `search`, which remembers what it sees."""

    @final
    def perturb(
        self, approach: Approach, samples: Samples, threat: ThreatModel, noise: NoiseStream
    ) -> Float[Tensor, "candidates batch *image"]:
        """Candidates (K, B, *image) with 1 <= K <= 3, best first.

        Raises:
            ContractViolation: the attack returns what it should put forward, or has done nothing.
        """
        search = Search(self.plugin_name(), approach, samples, threat, noise)
        returned: object = self.run(search)
        if returned is not None:
            raise ContractViolation(
                f"attack {self.plugin_name()!r} returned a {type(returned).__name__} from `run`, "
                f"which nobody reads; hand candidates to `search.put_forward`"
            )
        if search.idle and len(samples):
            raise ContractViolation(
                f"attack {self.plugin_name()!r} looked at no point and put nothing forward, so "
                f"that every image passes; look through `search`, or use `search.put_forward`"
            )
        return search.candidates()
