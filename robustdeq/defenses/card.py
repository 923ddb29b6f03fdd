"""What a defense says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """Where a defense comes from: paper, equation, and what its authors reported."""

    title: str
    citation: str
    equation: str = ""
    reported: tuple[str, ...] = ()
