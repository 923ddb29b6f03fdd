"""Aligned Markdown tables and the figures in them."""

from collections.abc import Collection, Sequence
from typing import Any

NONE = "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """A pipe table whose columns line up as text; those not in `left` are right-aligned."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    to_left = [name in left for name in header]
    rule = [
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, to_left, strict=True)
    ]
    lines = [
        [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, to_left, strict=True)
        ]
        for row in escaped
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def per_cent(fraction: float | None) -> str:
    """One decimal, without the sign; a dash where there is no figure."""
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def signed(fraction: float) -> str:
    """A difference in points, one decimal."""
    return f"{100 * fraction:+.1f}"


def p_value(p: float) -> str:
    """The p of a test, three decimals."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def plain(value: Any) -> str:
    """A setting as text; a dash where there is none."""
    return NONE if value is None else str(value)
