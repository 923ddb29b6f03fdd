"""`robustdeq report`: a paired comparison of entrants."""

import argparse
import sys
from argparse import Namespace
from pathlib import Path

from robustdeq.cli.options import add_results, protocol_of
from robustdeq.results.files import write
from robustdeq.results.store import ResultStore


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report", help="compare entrants pair by pair, in Markdown",
        description="Compare entrants on the images judged for both: difference, interval, "
        "p-value and a verdict in words, computed from the stored records.",
    )  # fmt: skip
    parser.add_argument("entrants", nargs="+", metavar="ENTRANT", help="as the board names them")
    parser.add_argument("--protocol", metavar="PROTOCOL", help="default: the only one there")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file instead")
    add_results(parser)
    parser.set_defaults(command=_report)


def _report(options: Namespace) -> int:
    from robustdeq.results import report

    store = ResultStore(options.results)
    text = report(store, protocol_of(store, options.protocol), options.entrants)
    if options.out:
        write(options.out, text.encode())
    else:
        sys.stdout.write(text)
    return 0
