"""`robustdeq check`: does a plug-in keep its contract?"""

import argparse
from argparse import Namespace

from robustdeq.errors import ContractViolation, SpecError


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
    from robustdeq.cli.options import chosen_entries, own_defenses
    from robustdeq.testing.contracts import check_defense

    name = options.plugin
    chains = own_defenses([name]) if name.endswith(".py") else [name]
    if not chains:
        raise SpecError(
            f"{name} holds no defence, and only defences have promises to run; try it with "
            f"`robustdeq run PROTOCOL.toml --plugin {name}`"
        )
    broken = 0
    for entry in chosen_entries(chains, []):
        print(f"{entry.defense.chain}")
        for promise, complaint in check_defense(entry.defense):
            print(f"  {'broken' if complaint else 'kept  '}  {promise}")
            if complaint:
                print(f"          {complaint}")
                broken += 1
    if broken:
        raise ContractViolation(f"{name} breaks {broken} of its promises; see above")
    return 0
