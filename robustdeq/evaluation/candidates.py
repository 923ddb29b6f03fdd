"""Asking an attack for candidates: what it is given is a copy, what it gives is checked."""

from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.base import Attack
from robustdeq.errors import ContractViolation
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.threats.base import ThreatModel

SLACK = 1e-6  # by which float32 rounding may leave the threat set


def candidates_of(
    attack: Attack, approach: Approach, samples: Samples, threat: ThreatModel, noise: NoiseStream
) -> Tensor:
    """What an attack puts forward for some samples, (K, B, *image), nobody else's to write into.

    Raises:
        ContractViolation: it wrote into what it was given, its objective or its view did, or its
            candidates are no images of the threat set. The message names the attack.
    """
    name, own = attack.plugin_name(), samples.copy()
    found = attack.perturb(approach, own, threat, noise)
    for part in ("images", "labels", "positions"):
        if not getattr(own, part).equal(getattr(samples, part)):
            raise ContractViolation(
                f"attack {name!r}, its objective or its view wrote into the {part} that it was "
                f"given; work on a copy: `x = x + step` instead of `x += step`"
            )
    _require_numbers(found, name)
    found = found.detach().clone()
    _require_inside(threat, samples.images, found, name)
    return found


def _require_numbers(found: Tensor, attack: str) -> None:
    lost = (~found.isfinite()).flatten(2).any(2).any(0)
    if bool(lost.any()):
        raise ContractViolation(
            f"attack {attack!r} found pixels that are NaN or infinite for {int(lost.sum())} of "
            f"{len(lost)} images; keep the last finite point where a step is not finite"
        )


def _require_inside(threat: ThreatModel, x: Tensor, candidates: Tensor, attack: str) -> None:
    """The ball law: nothing outside the threat set is judged, and nothing is clipped in silence."""
    for candidate in candidates:
        worst = threat.excess(x, candidate).max().item()
        if not worst <= SLACK:
            raise ContractViolation(
                f"attack {attack!r} left the {threat.plugin_name()} ball of radius {threat.eps} or "
                f"[0, 1] by {worst:.3g}; project its result with `threat.project`"
            )
