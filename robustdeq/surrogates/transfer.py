"""Another network of the protocol."""

from dataclasses import dataclass, replace

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.base import Sources, Surrogate
from robustdeq.surrogates.defended import Defended


@dataclass(frozen=True)
class Transfer(Surrogate):
    """One of the column's `sources`; the target only confirms.

    Sources are fixed by the protocol, trained under seeds that no ranked entrant uses, and never
    ranked themselves (Papernot, McDaniel and Goodfellow 2016, "Transferability in machine
    learning").

    Attributes:
        source: its place in the column's list, from 0.
    """

    source: int = 0

    def __post_init__(self):
        if self.source < 0:
            raise SpecError(f"source {self.source}; expected a place in the column's list, from 0")

    @property
    def needs_sources(self) -> int:
        return self.source + 1

    def applies(self, target: DefendedModel) -> str | None:
        return None

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        if self.source >= len(sources):
            raise SpecError(
                f"source {self.source} of {len(sources)}; list the networks to transfer from in "
                f"the column's `sources`"
            )
        approach = Defended().bind(sources[self.source], noise)
        return replace(approach, confirm=Defended().bind(target, noise).confirm)
