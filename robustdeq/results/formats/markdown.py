"""Pages as Markdown that reads well in a terminal, too."""

import re
from collections.abc import Collection, Sequence

from robustdeq.results.page import Block, Bullets, Heading, Page, Table

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # "p < 0.001" opens none


def to_markdown(page: Page) -> str:
    """The page; nothing in a name or a note becomes a mark, a tag or a control code."""
    return "\n\n".join(_block(block) for block in page.blocks) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """A pipe table whose columns line up as text; those not in `left` are right-aligned."""
    escaped = [[_line(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
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


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return table(block.header, block.rows, block.left)
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_line(block.text)}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {_line(item)}" for item in block.items)
    return _safe(block.text)


def _line(text: str) -> str:
    """On one line."""
    return _safe(text).replace("\n", " ")


def _safe(text: str) -> str:
    """Control codes as they are written in Python, and no tag begun."""
    seen = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
    return _TAG.sub("&lt;", seen)
