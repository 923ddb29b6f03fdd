"""Figures as the pages write them."""

from typing import Any

NONE = "-"


def per_cent(fraction: float | None) -> str:
    """One decimal, without the sign; a dash where there is no figure."""
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def signed(fraction: float) -> str:
    """A difference in points, one decimal."""
    return f"{100 * fraction:+.1f}"


def span(low: float, high: float) -> str:
    """An interval of per cent."""
    return f"{per_cent(low)} to {per_cent(high)}"


def signed_span(low: float, high: float) -> str:
    """An interval of differences in points."""
    return f"{signed(low)} to {signed(high)}"


def p_value(p: float) -> str:
    """The p of a test, three decimals."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def plain(value: Any) -> str:
    """A setting as text; a dash where there is none."""
    return NONE if value is None else str(value)
