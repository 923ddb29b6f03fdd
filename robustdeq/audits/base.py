"""The contract of an audit."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.judge import Judge
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin
from robustdeq.results.store.draft import Draft
from robustdeq.samples import Samples
from robustdeq.spec import digest
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Case:
    """What is audited: a defended model, and labelled images that nothing was fitted to.

    Attributes:
        target: what is attacked.
        judge: decides, on a copy of the target of its own; knows whether answers are drawn.
        seed: of every random draw; an audit is repeated under another one before it is believed.
        left: how often each image is still right after the white-box union, where it has been run.
        draft: has what several audits ask for, and an interrupted one had finished.
    """

    target: DefendedModel
    judge: Judge
    samples: Samples
    threat: ThreatModel
    seed: int = 0
    left: Float[Tensor, " n"] | None = None
    draft: Draft = field(default_factory=Draft)

    @property
    def x(self) -> Float[Tensor, "n *image"]:
        """The images."""
        return self.samples.images

    @property
    def y(self) -> Int[Tensor, " n"]:
        """Their labels."""
        return self.samples.labels

    @property
    def rows(self) -> Int[Tensor, " n"]:
        """Their positions in the data slice."""
        return self.samples.positions

    @property
    def noise(self) -> NoiseStream:
        """The stream that attacks and draws of this case are keyed by."""
        return NoiseStream(self.seed, self.judge.salt).child("audit")

    def once(self, name: str, make: Callable[[], Float[Tensor, " n"]]) -> Float[Tensor, " n"]:
        """A share for each image, made once for these images and this seed."""
        name = f"{name}, seed {self.seed}, images {digest(self.rows.tolist(), 8)}"
        shares = self.draft.part(name, lambda: make().tolist())
        return torch.tensor(shares, dtype=torch.double, device=self.y.device)


@dataclass(frozen=True)
class Measure:
    """One figure, and whether it raises a flag.

    Attributes:
        flag: from the closed list in `robustdeq.results.flags`.
        value, limit: the figure (an effect size), and where it starts to count.
        raised: whether it counts. Where `p` is given, chance has to be ruled out as well.
        detail: the figure in words, with its unit and how many images it is of.
        p: the p value of a statistical test; None where the figure is no estimate.
    """

    flag: str
    value: float
    limit: float
    raised: bool
    detail: str
    p: float | None = None


class Audit(Plugin, ABC):
    """A test of how far a robustness figure can be believed."""

    kind: ClassVar[str] = "audits"

    def applies(self, target: DefendedModel) -> str | None:
        """None, or the reason why this test says nothing about the target."""
        return None

    @abstractmethod
    def examine(self, case: Case) -> list[Measure]:
        """The figures; an empty list says that there was nothing to measure.

        Raises:
            Unchecked: the test cannot be made on this target; it is then not applicable.
        """
