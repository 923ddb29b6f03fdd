"""`robustdeq check`: does a plug-in keep its contract?"""

import argparse
from argparse import Namespace

from robustdeq.errors import ContractViolation


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check", help="run the contracts on a plug-in file or a registered defence",
        description="Run every promise of the defence contract on a small task, in under a "
        "minute, and answer in sentences.",
    )  # fmt: skip
    parser.add_argument(
        "plugin", metavar="FILE_OR_NAME", help="my_defense.py, or a chain such as trades/vanilla"
    )
    parser.set_defaults(command=_check)


def _check(options: Namespace) -> int:
    from robustdeq.cli.options import chosen_entrants
    from robustdeq.testing.contracts import check_defense

    is_file = options.plugin.endswith(".py")
    names, files = ([], [options.plugin]) if is_file else ([options.plugin], [])
    broken = 0
    for entrant in chosen_entrants(names, files):
        print(f"{entrant.chain}")
        for promise, complaint in check_defense(entrant.defense):
            print(f"  {'broken' if complaint else 'kept  '}  {promise}")
            if complaint:
                print(f"          {complaint}")
                broken += 1
    if broken:
        raise ContractViolation(f"{options.plugin} breaks {broken} of its promises; see above")
    return 0
