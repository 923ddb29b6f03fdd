"""A page before it has a format: what it says, and in which order.

Text may set names of commands and settings in `backticks`, as Markdown does; it holds no other
mark, and whoever writes a format escapes what that format reads as one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Heading:
    """A title: of the page at level 1, of its parts below."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Remarks, one after another."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header, all of them text.

    Attributes:
        left: the names in the header of columns of words, which begin at the left; figures end at
            the right.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, items: Iterable[T], columns: Mapping[str, Callable[[T], str]], left: Sequence[str] = ()
    ) -> "Table":
        """A row for each item, whose cells the columns say."""
        rows = tuple(tuple(cell(item) for cell in columns.values()) for item in items)
        return cls(tuple(columns), rows, tuple(left))


Block = Heading | Text | Bullets | Table


@dataclass(frozen=True)
class Page:
    """Blocks in order; those that say nothing are left out."""

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, *blocks: Block) -> "Page":
        """A page of those blocks that say something."""
        return cls(tuple(block for block in blocks if _says(block)))


def _says(block: Block) -> bool:
    if isinstance(block, Table):
        return True
    return bool(block.items if isinstance(block, Bullets) else block.text)
