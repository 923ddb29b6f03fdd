"""`robustdeq board`: the leaderboard, recomputed from records alone."""

import argparse
import sys
from argparse import Namespace
from pathlib import Path

from robustdeq.cli.options import add_results, protocol_of
from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.store.files import write
from robustdeq.results.store.result_store import ResultStore


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "board", help="print a leaderboard, computed from the stored records",
        description="Compute a protocol's leaderboard from the records in the results folder. "
        "Nothing is trained, attacked or changed.",
    )  # fmt: skip
    parser.add_argument(
        "protocol", nargs="?", metavar="PROTOCOL",
        help="a protocol of the results folder (default: the only one there)",
    )  # fmt: skip
    parser.add_argument(
        "--format", metavar="FORMAT", default="md", dest="form",
        help="md, csv or json (default: md)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file instead")
    parser.add_argument(
        "--check", action="store_true",
        help="regenerate every committed board of the folder and say whether it is byte for byte "
        "the same; without --results of the folder ./results",
    )  # fmt: skip
    add_results(parser)
    parser.set_defaults(command=_board, results=None)


def _board(options: Namespace) -> int:
    from robustdeq.results import check_boards, render

    if options.check:
        root = options.results or Path("results")
        count = len(list(ResultStore(root).boards.glob("*.*")))
        if not count:
            command = hint("run", "--results", root)
            raise StoreError(f"{root} holds no boards to check; {command} writes some")
        if differences := check_boards(root):
            raise StoreError("; ".join(differences))
        print(f"{root}: {count} board files equal what their records give")
        return 0
    store = ResultStore(options.results or Path("runs"))
    text = render(store, protocol_of(store, options.protocol), options.form)
    if options.out:
        write(options.out, text.encode())
    else:
        sys.stdout.write(text)
    return 0
