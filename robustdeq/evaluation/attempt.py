"""One attack on some samples, made where the model is."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from robustdeq.answers import labels
from robustdeq.attacks.approach import Approach, nobody
from robustdeq.attacks.base import Attack
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.candidates import candidates_of, require_valid
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.remote import Model, RemoteModel, ask
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.surface import Cost
from robustdeq.surrogates.base import Sources
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.differences import Differences
from robustdeq.threats.base import ThreatModel

_LOGITS = frozenset({"logits"})


@dataclass(frozen=True)
class Attempt:
    """What an attack put forward.

    Attributes:
        lost: which samples the attacked view reads wrongly at the first candidate.
    """

    candidates: Float[Tensor, "candidates batch *image"]
    lost: Bool[Tensor, " batch"]
    cost: Cost


@dataclass(frozen=True)
class Attacker:
    """A stage against one model.

    Attributes:
        model: what is attacked.
        sources: the networks that `transfer` views climb.
        whole_budget: no sample leaves the attack early.
        asked: the copy that searches ask which read answers alone, where it lives apart.
    """

    model: Model
    threat: ThreatModel
    sources: tuple[Model, ...] = ()
    whole_budget: bool = False
    asked: Model | None = None

    def __call__(self, stage: Stage, samples: Samples, noise: NoiseStream) -> Attempt:
        """Run one stage on samples.

        An attack that needs nothing but answers runs in this process, whatever it attacks.

        Raises:
            ContractViolation: what it puts forward are no candidates; see `candidates_of`.
        """
        given = samples, self.threat, noise
        if isinstance(self.asked, RemoteModel) and reads_answers(stage):
            view = stage.surrogate if isinstance(stage.surrogate, Differences) else Differences()
            approach = view.of_answers(self.asked, noise)
            return climbed(stage.attack, approach, *given, self.whole_budget)
        found = ask(self.model, attempt, stage, *given, self.sources, self.whole_budget)
        require_valid(found.candidates, samples.images, self.threat, stage.attack.plugin_name())
        return found


def reads_answers(stage: Stage) -> bool:
    """Whether a stage reads nothing but the deployed answers."""
    if isinstance(stage.surrogate, Differences):
        return True
    return isinstance(stage.surrogate, Defended) and not stage.attack.needs_gradient


def attempt(
    model: DefendedModel, stage: Stage, samples: Samples, threat: ThreatModel,
    noise: NoiseStream, sources: Sources, whole_budget: bool,
) -> Attempt:  # fmt: skip
    """Run one stage on samples, beside the model."""
    approach = stage.surrogate.bind(model, noise, sources)
    return climbed(stage.attack, approach, samples, threat, noise, whole_budget)


def climbed(
    attack: Attack, approach: Approach, samples: Samples, threat: ThreatModel, noise: NoiseStream,
    whole_budget: bool,
) -> Attempt:  # fmt: skip
    """What an attack finds on a surface."""
    if whole_budget:
        approach = replace(approach, confirm=nobody)
    candidates = candidates_of(attack, approach, samples, threat, noise)
    cost = Cost()
    cost.book(approach.surface.cost)  # without the look that follows, which is ours
    seen = approach.surface.view(candidates[0], samples.positions, _LOGITS)
    return Attempt(candidates, labels(seen.logits) != samples.labels, cost)
