"""What a defense does between an image and its answer."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Inference:
    """What a defense, or a whole chain, adds to its network's own answer.

    Everything that hangs on it asks here: the surface that a chain is attacked through, the columns
    that it has to meet, what is judged in double precision. A class states it; where it does not,
    every hook that it defines counts as acting, so that no attack is weaker for want of a word.

    Attributes:
        rewrites: `transform` changes the input.
        answers: `infer` answers in the network's place, or `relaxed` stands in for the answer.
        updates: the input is moved step by step, and `unrolled` goes back through the last steps.
    """

    rewrites: bool = False
    answers: bool = False
    updates: bool = False

    @property
    def acts(self) -> bool:
        """Whether the answer is anything but the network's own to the image as it came."""
        return self.rewrites or self.answers

    def __or__(self, other: "Inference") -> "Inference":
        """What two defenses of one chain do between them."""
        return Inference(
            self.rewrites or other.rewrites,
            self.answers or other.answers,
            self.updates or other.updates,
        )


NETWORK = Inference()  # the network answers; a hook that is defined all the same passes through
REWRITES = Inference(rewrites=True)
ANSWERS = Inference(answers=True)
UPDATES = Inference(updates=True)

HOOKS = MappingProxyType(
    {"transform": REWRITES, "infer": ANSWERS, "relaxed": ANSWERS, "unrolled": UPDATES}
)


def told_by_hooks(defense: type, parent: type, passing: type) -> Inference:
    """What the hooks do that a class has beyond those of its parent.

    Args:
        passing: the class whose hooks hand every question on to the base. A hook of the same code
            is one of these written out. Code is compared and not answers, which may be the same on
            all images but one.
    """
    found = NETWORK
    for hook, does in HOOKS.items():
        own = getattr(defense, hook)
        if own is not getattr(parent, hook) and _code(own) != _code(getattr(passing, hook)):
            found |= does
    return found


def _code(hook: Callable[..., Any]) -> object:
    """What a method computes, whatever its arguments are called; itself where that is not seen."""
    code = getattr(inspect.unwrap(hook), "__code__", None)
    if not isinstance(code, CodeType):
        return hook
    return code.co_code, code.co_names, code.co_argcount, code.co_kwonlyargcount, code.co_freevars
