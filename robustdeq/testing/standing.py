"""What a defense is worth beside its base, and on a board: what `robustdeq run` would find."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from robustdeq.defenses.base import Defense, Wrapper
from robustdeq.defenses.inference import told_by_hooks
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.testing.subject import Subject
from robustdeq.threats.linf import Linf

_THREAT = Linf(Fraction(1, 8))
_PROGRESS = (0.0, 0.5, 1.0)  # of a training, since schedules begin and end


def check_standing(defense: Defense) -> Iterator[tuple[str, str | None]]:
    """What a board asks for beyond the contract, in sentences, with None or the complaint."""
    yield "It changes the answers or the training of its base.", _idle(defense)
    yield "What it does at inference can be taken away from it.", _fixed(defense)


def refused_views(defense: Defense) -> list[str]:
    """Why columns that its inference asks for would be refused, if any would be."""
    target = Subject(defense).target()
    reasons = (view.applies(target) for view in derived_views(defense, randomised=False))
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _idle(defense: Defense) -> str | None:
    if not isinstance(defense, Wrapper) or _states(type(defense)) or _differs(defense):
        return None
    return (
        f"{defense.chain} answers and trains as {defense.base.chain} does, on {len(_PROGRESS)} "
        f"stages of a training; define a hook of the contract that does something (`transform` or "
        f"`infer` at inference; `craft`, `objective`, `outputs` or `penalty` in training)"
    )


def _fixed(defense: Defense) -> str | None:
    for part in defense.parts:
        if isinstance(part, Wrapper) and part.inference.acts and part.stage != "inference":
            return (
                f"{part.plugin_name()} acts at inference and has the stage {part.stage!r}: the "
                f"columns `undefended` and `after-transfer` are refused, and no row of it is ever "
                f'complete; add `stage: ClassVar = "inference"`, or `inference: ClassVar = '
                f"NETWORK` (from robustdeq.defenses.inference) if it only passes on its base's "
                f"answers"
            )
    return None


def _states(kind: type[Wrapper]) -> bool:
    """Whether the class says itself what no small batch may show."""
    said = ("loop", "adaptive", "control", "crafting_surface", "unrolled")
    stated = "inference" in vars(kind) and kind.inference != told_by_hooks(kind, Wrapper)
    return stated or any(getattr(kind, name) is not getattr(Wrapper, name) for name in said)


def _differs(defense: Wrapper) -> bool:
    own, base = Subject(defense), Subject(defense.base)
    if own.network().deployment() != base.network().deployment():
        return True
    if own.target().calibration != base.target().calibration:
        return True
    return any(not torch.equal(a, b) for a, b in zip(_facts(own), _facts(base), strict=True))


def _facts(subject: Subject) -> Iterator[Tensor]:
    """What a wrapper can change: answers, and at stages of a training its inputs and its loss."""
    yield subject.answer().logits
    for progress in _PROGRESS:
        target = replace(subject.target(), progress=progress)
        x = subject.defense.craft(target, subject.batch(_THREAT), subject.noise(), {})
        yield x
        loss = subject.defense.objective(target, subject.batch(_THREAT), x, subject.noise())
        yield loss.detach()
