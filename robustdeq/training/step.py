"""What every training loop does: one step of the optimiser, and a look at the held-out images."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import Split
from robustdeq.defenses.base import Batch, DefendedModel
from robustdeq.defenses.returned import tensor
from robustdeq.noise import NoiseStream, TrainingNoise
from robustdeq.samples import Samples
from robustdeq.surfaces.training import training_surface
from robustdeq.threats.base import ThreatModel

_LOOK = PGD(steps=10)  # the attack behind the held-out robust accuracy: cheap, and never reported


def optimise(
    target: DefendedModel,
    batch: Batch,
    noise: TrainingNoise,
    memory: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    rate: float,
) -> Float[Tensor, ""]:
    """Craft in evaluation mode, then move the weights once; returns the loss before the step.

    Args:
        memory: what the defense keeps from step to step.
        rate: the learning rate of this step.

    Raises:
        ContractViolation: a hook returns something else than its contract says.
    """
    model, defense = target.classifier, target.defense
    model.eval().requires_grad_(False)
    crafted = defense.craft(target, batch, noise, memory)
    x_adv = tensor(crafted, f"{defense.chain}: `craft`", tuple(batch.x.shape)).detach()
    model.train().requires_grad_(True)
    loss = tensor(
        defense.objective(target, batch, x_adv, noise), f"{defense.chain}: `objective`", ()
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def look(
    target: DefendedModel, held_out: Split, threat: ThreatModel, noise: NoiseStream
) -> tuple[float, float]:
    """Clean and robust accuracy on the held-out images, as the model would be deployed."""
    model, images, labels = target.classifier, held_out.images, held_out.labels
    model.eval().requires_grad_(False)
    rows = torch.arange(len(images), device=images.device)
    samples = Samples(images, labels, rows)
    x_adv = _LOOK.perturb(Approach(training_surface(model)), samples, threat, noise)[0]
    clean, robust = (
        (target.predict(x, rows, noise).labels == labels).float().mean().item()
        for x in (images, x_adv)
    )
    return clean, robust
