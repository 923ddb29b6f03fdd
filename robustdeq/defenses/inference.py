"""What a defense does between an image and its answer."""

import inspect
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


def told_by_hooks(defense: type, parent: type) -> Inference:
    """What the hooks do that a class has beyond those of its parent.

    One that only asks the base the same question does nothing. Code is compared and not answers,
    which may be the same on all images but one; a decorated hook counts as acting.
    """
    found = NETWORK
    for hook, does in HOOKS.items():
        own = getattr(defense, hook)
        if own is not getattr(parent, hook) and _code(own) != _WRITTEN_OUT[hook]:
            found |= does
    return found


class _WrittenOut:
    """The hooks of `HOOKS` as a wrapper writes them that asks its base by hand."""

    base: Any

    def transform(self, target: Any, x: Any, noise: Any) -> Any:
        return self.base.transform(target, x, noise)

    def infer(self, target: Any, x: Any, noise: Any) -> Any:
        return self.base.infer(target, x, noise)

    def relaxed(self, target: Any, x: Any, noise: Any) -> Any:
        return self.base.relaxed(target, x, noise)

    def unrolled(self, target: Any, x: Any, noise: Any, last: Any, sign: Any) -> Any:
        return self.base.unrolled(target, x, noise, last, sign)


def _code(method: Any) -> object:
    """What a method computes, whatever its arguments are called; itself where that is not seen."""
    code = getattr(method, "__code__", None)
    if not isinstance(code, CodeType):
        return method
    return code.co_code, code.co_names, code.co_argcount, code.co_kwonlyargcount, code.co_freevars


_WRITTEN_OUT = {hook: _code(inspect.unwrap(getattr(_WrittenOut, hook))) for hook in HOOKS}
