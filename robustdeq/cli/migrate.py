"""`robustdeq migrate`: an older results folder in today's form."""

import argparse
from argparse import Namespace

from robustdeq.cli.options import folder
from robustdeq.errors import SpecError

_ABOUT = """\
Bring a results folder with records of schema 1 over to schema 2, in place; keep a copy, or commit
it first. Every record becomes one Parquet file, and the training data becomes part of what it,
entrants and weights are named by. No figure changes: boards are the same byte for byte.

An interrupted migration goes on with the same command; on a folder that is up to date it does
nothing.
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "migrate", help="bring an older results folder over, figures unchanged",
        description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", metavar="DIR", type=folder, help="the results folder")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="FILE",
        help="the TOML file of a protocol of your own that it has records of; may be repeated",
    )  # fmt: skip
    parser.set_defaults(command=_migrate)


def _migrate(options: Namespace) -> int:
    from robustdeq.results.store.migration import migrate, slices

    wanted = slices(options.folder)
    done = migrate(options.folder, _training_digests(wanted, options.protocol))
    print(
        f"{options.folder}: {done.records} records, {done.entrants} entrants and "
        f"{done.retractions} retractions brought over"
    )
    for name in done.left:
        print(
            f"{options.folder / 'entrants' / name} was left: no record says which data it was "
            f"trained on, and there is more than one; delete it, or train it again"
        )
    return 0


def _training_digests(wanted: dict[str, str], files: list[str]) -> dict[str, str]:
    """The digest of the training data behind each test slice."""
    from robustdeq.evaluation.protocol import load_protocol, shipped

    found = {}
    for name in (*files, *shipped()):
        protocol = load_protocol(name)
        if protocol.digest in wanted and protocol.digest not in found:
            found[protocol.digest] = protocol.load_data().training_digest()
    for digest, name in wanted.items():
        if digest not in found:
            raise SpecError(
                f"no protocol is known of the {name} images of digest {digest[:16]}; give its "
                f"file with --protocol"
            )
    return found
