"""Single values of a TOML or JSON file, and the messages about what they should have been."""

import math
from fractions import Fraction
from typing import Any

from robustdeq.errors import SpecError, nearest

SCALARS = (Fraction, float, int, bool, str)


def scalar(wanted: type, data: Any, where: str) -> Any:
    """A value of one of the `SCALARS`; `where` is its place in the file, for messages.

    Raises:
        SpecError: it is of another type, or no finite number.
    """
    if wanted is Fraction:
        return _fraction(data, where)
    if wanted is float:
        number = isinstance(data, (int, float)) and not isinstance(data, bool)
        expect(number and math.isfinite(data), "a finite number", data, where)
        return float(data)
    if wanted is int:
        expect(isinstance(data, int) and not isinstance(data, bool), "an integer", data, where)
        return data
    word = {bool: "true or false", str: "a text"}[wanted]
    expect(isinstance(data, wanted), word, data, where)
    return data


def _fraction(data: Any, where: str) -> Fraction:
    wanted = 'a fraction written as text, like "8/255"'
    expect(isinstance(data, (str, int)) and not isinstance(data, bool), wanted, data, where)
    try:
        return Fraction(data)
    except (ValueError, ZeroDivisionError):
        raise wrong(wanted, data, where) from None


def one_of(options: tuple, data: Any, where: str) -> Any:
    """One of some options.

    Raises:
        SpecError: it is none of them; the message offers the nearest.
    """
    if data not in options:
        options_text = nearest(str(data), map(str, options))
        raise SpecError(f"{at(where)}{data!r} is not an option; {options_text}")
    return data


def expect(holds: bool, wanted: str, data: Any, where: str) -> None:
    """Refuse a value.

    Raises:
        SpecError: what it has to be does not hold.
    """
    if not holds:
        raise wrong(wanted, data, where)


def wrong(wanted: str, data: Any, where: str) -> SpecError:
    """What to tell of a value that is not what is wanted."""
    return SpecError(f"{at(where)}{data!r} is not {wanted}")


def at(where: str) -> str:
    """A place in a file, to begin a message with."""
    return f"{where}: " if where else ""
