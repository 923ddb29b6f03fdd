"""Hooks that a wrapper leaves to what it wraps."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Hook = TypeVar("Hook", bound=Callable[..., Any])


def handed_on(hook: Hook) -> Hook:
    """The method of this name that asks `self.base`, with the signature and docstring of a hook."""

    @functools.wraps(hook, updated=())  # what is abstract in the contract is not in a wrapper
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return getattr(self.base, hook.__name__)(*arguments, **named)

    return method  # type: ignore[return-value]
