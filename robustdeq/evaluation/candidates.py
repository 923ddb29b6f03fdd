"""Asking an attack for candidates: what it is given is a copy, what it gives is checked."""

from typing import Any

from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.attacks.base import Attack
from robustdeq.attacks.search import MOST
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
    require_valid(found, samples.images, threat, name)
    return found.detach().clone()


def require_valid(found: Any, x: Tensor, threat: ThreatModel, attack: str) -> None:
    """Refuse what may not be judged as candidates for images x, whoever hands it in.

    Raises:
        ContractViolation: it is no tensor of candidates, or leaves the threat set.
    """
    if not isinstance(found, Tensor) or found.shape[1:] != x.shape or not 1 <= len(found) <= MOST:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ContractViolation(
            f"attack {attack!r} put forward {shape}; expected 1 to {MOST} candidates for each "
            f"image, (K, {', '.join(map(str, x.shape))})"
        )
    _require_numbers(found, attack)
    _require_inside(threat, x, found.detach(), attack)


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
