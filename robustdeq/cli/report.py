"""`robustdeq report`: a paired comparison of entrants, or a look at one goal."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from robustdeq.cli.options import add_results, protocol_of
from robustdeq.errors import SpecError
from robustdeq.registry import find, names
from robustdeq.results.store.files import write
from robustdeq.results.store.result_store import ResultStore

_LOOKS = ("times", "audits")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report", help="compare entrants pair by pair, in Markdown",
        description="Compare entrants on the images judged for both, under the attacks that both "
        "have faced: difference, interval, p-value and a verdict in words, computed from the "
        "stored records. With --of, tell of all entrants what an attack on the solver's cost, or "
        "on each state, has found, what time their columns took, or how their audits ended.",
    )  # fmt: skip
    parser.add_argument("entrants", nargs="*", metavar="ENTRANT", help="as the board names them")
    parser.add_argument(
        "--of", choices=(*_goals(), *_LOOKS), help="instead of a comparison",
    )  # fmt: skip
    parser.add_argument("--protocol", metavar="PROTOCOL", help="default: the only one there")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file instead")
    add_results(parser)
    parser.set_defaults(command=_report)


def _report(options: Namespace) -> int:
    from robustdeq.results import report
    from robustdeq.results.reports.audits import audits
    from robustdeq.results.reports.times import times

    store = ResultStore(options.results)
    if options.of:
        if options.entrants:
            raise SpecError(
                f"--of {options.of} tells of all entrants; leave out {' '.join(options.entrants)}"
            )
        if options.of == "audits":  # of weights, whatever protocol they have entered
            text = audits(store, options.protocol)
        else:
            look = times if options.of == "times" else _goals()[options.of]
            text = look(store, protocol_of(store, options.protocol))
    else:
        text = report(store, protocol_of(store, options.protocol), options.entrants)
    if options.out:
        write(options.out, text.encode())
    else:
        sys.stdout.write(text)
    return 0


def _goals() -> dict[str, Callable[[ResultStore, str], str]]:
    """The reports that goals have, by title."""
    goals = (find("goals", name)() for name in names("goals"))
    return {goal.title: goal.report for goal in goals if goal.title}
