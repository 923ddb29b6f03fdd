"""Board files: regenerated from the records, never edited."""

from collections.abc import Callable
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType

from robustdeq.errors import UnknownName
from robustdeq.results.boards.board import Board, read_board
from robustdeq.results.formats.data import to_csv, to_json
from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.reports.board import board_page
from robustdeq.results.store.result_store import ResultStore


def _markdown(board: Board) -> str:
    return to_markdown(board_page(board))


FORMATS = MappingProxyType({"md": _markdown, "csv": to_csv, "json": to_json})


def render(store: ResultStore, protocol: str, form: str) -> str:
    """The board of a protocol in one of the `FORMATS`.

    Raises:
        UnknownName: the store has no such protocol, or there is no such format.
        StoreError: a record or table is damaged.
    """
    return _known(form)(read_board(store, protocol))


def write_boards(store: ResultStore, protocol: str) -> list[Path]:
    """Regenerate a protocol's board in every format; returns the files."""
    board = read_board(store, protocol)
    return [store.write_board(f"{protocol}.{form}", FORMATS[form](board)) for form in FORMATS]


def check_boards(root: Path | str) -> list[str]:
    """Regenerate every board file of a store; one sentence for each that differs, none if none.

    Raises:
        UnknownName: a board is of a protocol that is not stored, or of an unknown format.
        StoreError: a record or table is damaged.
    """
    store = ResultStore(root)
    board_of = cache(partial(read_board, store))
    differences = []
    for path in sorted(store.boards.glob("*.*")):
        # Bytes, so that line endings count; a damaged file differs, whatever is in it.
        stored = path.read_bytes().decode(errors="backslashreplace")
        computed = _known(path.suffix.lstrip("."))(board_of(path.stem))
        if stored != computed:
            differences.append(f"{path} differs from its records {_first(stored, computed)}")
    return differences


def _known(form: str) -> Callable[[Board], str]:
    if form not in FORMATS:
        raise UnknownName("board format", form, FORMATS)
    return FORMATS[form]


def _first(stored: str, computed: str) -> str:
    lines = zip_longest(stored.split("\n"), computed.split("\n"))
    number, (ours, theirs) = next(
        (i, pair) for i, pair in enumerate(lines, start=1) if pair[0] != pair[1]
    )
    return f"at line {number}: it has {ours!r}, the records give {theirs!r}"
