"""`robustdeq report`: a paired comparison of entrants, or a page about all of them."""

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from robustdeq.cli.options import add_plugin, add_results, protocol_of
from robustdeq.errors import SpecError, UnknownName
from robustdeq.results.store.result_store import ResultStore

if TYPE_CHECKING:
    from robustdeq.goals.base import Goal
    from robustdeq.results.page import Page
    from robustdeq.results.reports.base import Report


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report", help="compare entrants pair by pair, or tell of all of them",
        description="Compare entrants on the images judged for both, under the attacks that both "
        "have faced: difference, interval, p-value and a verdict in words, computed from the "
        "stored records. With --of, tell of all entrants: what an attack on the solver's cost "
        "(slow-down) or on each state (state-map) has found, what time their columns took (times), "
        "how their audits ended (audits), or what a report of your own says (--plugin).",
    )  # fmt: skip
    parser.add_argument("entrants", nargs="*", metavar="ENTRANT", help="as the board names them")
    parser.add_argument(
        "--of", metavar="NAME", help="a page instead of a comparison: see `robustdeq list reports`"
    )
    parser.add_argument("--protocol", metavar="PROTOCOL", help="default: the only one there")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file instead")
    add_results(parser)
    add_plugin(parser)
    parser.set_defaults(command=_report)


def _report(options: Namespace) -> int:
    from robustdeq.registry import load_file
    from robustdeq.results.formats.markdown import to_markdown
    from robustdeq.results.store.files import write

    for path in options.plugin:
        load_file(path)
    text = to_markdown(_page(ResultStore(options.results), options))
    if options.out:
        write(options.out, text.encode())
    else:
        sys.stdout.write(text)
    return 0


def _page(store: ResultStore, options: Namespace) -> "Page":
    from robustdeq.results import report
    from robustdeq.results.reports.base import Report

    if not options.of:
        return report(store, protocol_of(store, options.protocol), options.entrants)
    if options.entrants:
        raise SpecError(
            f"--of {options.of} tells of all entrants; leave out {' '.join(options.entrants)}"
        )
    tellers = {**reports(), **goals_with_pages()}
    if options.of not in tellers:
        raise UnknownName("report", options.of, tellers)
    teller = tellers[options.of]()
    if isinstance(teller, Report) and teller.across:
        return teller.page(store, options.protocol or "")
    return teller.page(store, protocol_of(store, options.protocol))


def reports() -> "dict[str, type[Report]]":
    """The reports, by name."""
    from robustdeq.registry import find, names

    return {name: find("reports", name) for name in names("reports")}


def goals_with_pages() -> "dict[str, type[Goal]]":
    """The goals that have a page of their columns, by the page's name."""
    from robustdeq.registry import find, names

    goals = [find("goals", name) for name in names("goals")]
    return {goal.title: goal for goal in goals if goal.title}
