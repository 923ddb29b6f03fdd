"""The one attack: stages on samples, and what the deployed predictor says of what they made."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float
from torch import Tensor

from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.crafting import Crafted, Crafter
from robustdeq.evaluation.judge import Judge, Verdict
from robustdeq.evaluation.remote import Model
from robustdeq.progress import Progress, unseen
from robustdeq.samples import Samples
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Attacked:
    """Samples, what an attack made of them, and the judge who is asked about it.

    Attributes:
        samples: as they were before.
        attacked: (n,) which of them were attacked; the others are lost already.
    """

    samples: Samples
    attacked: Bool[Tensor, " n"]
    crafted: Crafted
    judge: Judge

    @property
    def found(self) -> Samples:
        """The most damaging input found for each sample."""
        return self.samples.moved(self.crafted.x)

    @cached_property
    def verdict(self) -> Verdict:
        """What the judge says of these inputs."""
        return self.judge(self.found)

    @cached_property
    def survival(self) -> Float[Tensor, " n"]:
        """How often each is right: 1 or 0; of a randomized defense a share of fresh draws.

        A sample is right where it withstood every candidate, and every answer to the last one.
        """
        if not self.judge.randomised:
            return (self.crafted.standing & self.verdict.right).float()
        return self.judge.survival(self.found, self.crafted.standing)


def attack(
    target: Model,
    judge: Judge,
    samples: Samples,
    threat: ThreatModel,
    stages: tuple[Stage, ...],
    seed: int = 0,
    attacked: Bool[Tensor, " n"] | None = None,
    batch_size: int = 128,
    progress: Progress = unseen,
) -> Attacked:
    """Run the stages in turn, each on the samples that all before it left standing, and judge.

    Args:
        target: what is attacked.
        judge: on a copy of the target that no attack touches.
        attacked: which samples to attack; by default all that the judge has right.
    """
    if attacked is None:
        attacked = judge.attackable(samples)
    craft = Crafter(target, judge, threat, stages, batch_size, progress=progress)
    return Attacked(samples, attacked, craft(samples, seed, attacked), judge)
