"""`robustdeq check`: does a plug-in keep its contract?"""

import argparse
from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from robustdeq.errors import ContractViolation, SpecError
from robustdeq.hints import hint

if TYPE_CHECKING:
    from robustdeq.defenses.base import Defense


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check", help="run the contracts on a plug-in file or a registered defense",
        description="Run every promise of the defense contract on a small task, in under a "
        "minute, and answer in sentences: what is misspelled, does nothing or could never rank, "
        "too. A network that was made for other images or classes is asked on those.",
    )  # fmt: skip
    parser.add_argument(
        "plugin", metavar="FILE_OR_NAME", help="my_defense.py, or a chain such as trades/vanilla"
    )
    parser.set_defaults(command=_check)


def _check(options: Namespace) -> int:
    from robustdeq.cli.options import chosen_entries

    name = options.plugin
    chains = _chains_of_file(name) if name.endswith(".py") else [name]
    broken = sum(_tell(entry.defense) for entry in chosen_entries(chains, []))
    if broken:
        raise ContractViolation(f"{name} breaks {broken} of its promises; see above")
    return 0


def _chains_of_file(name: str) -> list[str]:
    """The chain by which a file's defense enters.

    Raises:
        ContractViolation: it holds another plug-in, with a name or a hook not of its contract.
        SpecError: it holds another plug-in.
    """
    from robustdeq.cli.options import own_chains
    from robustdeq.engines.local import load_plugins
    from robustdeq.testing.declarations import misspelled, uncallable

    plugins = load_plugins([name])
    if chains := own_chains(plugins):
        return chains
    for complaint in (each for p in plugins for each in (*misspelled(p), *uncallable(p))):
        raise ContractViolation(f"{name}: {complaint}")
    raise SpecError(
        f"{name} holds no defense, and only defenses have promises to run; its names and hooks are "
        f"those of its contract. Try it with {hint('run', 'PROTOCOL', '--plugin', name)} in a TOML "
        f"file that names it"
    )


def _tell(defense: "Defense") -> int:
    """Every promise in a line, with the complaint about it; returns how many are broken."""
    from robustdeq.testing.contracts import check_defense
    from robustdeq.testing.standing import check_standing, refused_views
    from robustdeq.testing.subject import Subject
    from robustdeq.testing.toys import TASK

    print(defense.chain)
    if (task := Subject(defense).task) != TASK:
        print(f"  noted   It is asked for {task.classes} classes of images {task.shape}.")
    broken = _lines(check_defense(defense))
    if broken:
        return broken
    broken = _lines(check_standing(defense))
    for reason in () if broken else refused_views(defense):
        print(f"  noted   A column that a row needs to rank would be refused: {reason}")
    return broken


def _lines(promises: Iterable[tuple[str, str | None]]) -> int:
    broken = 0
    for promise, complaint in promises:
        print(f"  {'broken' if complaint else 'kept  '}  {promise}")
        if complaint:
            print(f"          {complaint}")
            broken += 1
    return broken
