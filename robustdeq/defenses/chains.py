"""What a chain of defenses consists of."""

from robustdeq.defenses.base import Defense, Wrapper
from robustdeq.defenses.inference import told_by_hooks


def defines_more(defense: Defense) -> bool:
    """Whether a class of the chain defines hooks that act, for all it states of its inference."""
    contract = Wrapper if isinstance(defense, Wrapper) else Defense
    told = told_by_hooks(type(defense), contract)
    more = told | defense.inference != defense.inference
    return more or (isinstance(defense, Wrapper) and defines_more(defense.base))


def trained_part(defense: Defense) -> Defense:
    """The chain without its inference wrappers, which stand outermost."""
    while isinstance(defense, Wrapper) and defense.stage == "inference":
        defense = defense.base
    return defense
