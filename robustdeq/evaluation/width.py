"""How many classes a model answers with."""

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.bench import chain_of
from robustdeq.evaluation.remote import Model, ask
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples


def require_width(target: Model, samples: Samples) -> None:
    """Refuse a model whose logits are of other classes than those that its network was built for.

    Raises:
        ContractViolation: they are.
    """
    wanted, one = ask(target, _classes), samples.first(1)
    if wanted is None or not len(one):
        return
    found = target.predict(one.images, one.positions, NoiseStream(0)).logits.shape[1]
    if found != wanted:
        raise ContractViolation(
            f"{ask(target, chain_of)} answers with logits of {found} classes, but its network was "
            f"built for {wanted}; return one logit for each class"
        )


def _classes(target: DefendedModel) -> int | None:
    task = target.classifier.task
    return None if task is None else task.classes
