"""`robustdeq run`: from a protocol to its board."""

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING

from robustdeq.cli.options import (
    DEFAULT_PROTOCOL,
    add_compute,
    add_results,
    add_seeds,
    chosen_entries,
    data_of,
    growing_store,
    own_defenses,
    refuse_failures,
    tell_changes,
)
from robustdeq.results.store.result_store import ResultStore

if TYPE_CHECKING:
    from torch import Tensor

    from robustdeq.entrant import Entrant
    from robustdeq.evaluation.protocol import Protocol
    from robustdeq.evaluation.roster import Entry

_ABOUT = """\
Train, attack, judge and rank: everything a protocol asks for, from nothing.

Whatever is missing in the results folder is computed and stored, one record per entrant and
column; whatever is there is kept. So an interrupted run goes on with the same command, and a
finished one answers at once. Each board row is printed as soon as it is complete, and the board
at the end is computed from the stored records alone.
"""

_EXAMPLES = """\
examples:
  robustdeq run                                   the quickstart: four models on 8x8 digits
  robustdeq run --entrant trades/vanilla          one entrant, a chain of defenses outermost first
  robustdeq run --entrant mine.toml               entrants with fields and recipes of your own
  robustdeq run --plugin my_defense.py            a defense of your own, beside what is there
  robustdeq run my-protocol.toml --device cuda    a protocol of your own
  robustdeq run --again --entrant vanilla         one more run of each trial, with its own record
  robustdeq run digits-linf-v2 --seed 0           one training seed; the others may run elsewhere

Records go to DIR/records, weights to DIR/checkpoints, training logs and cards to DIR/entrants,
boards to DIR/boards. See `robustdeq list protocols` and `robustdeq list defenses` for names.
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "run", help="train, attack and rank the entrants of a protocol",
        description=_ABOUT, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "protocol", nargs="?", default=DEFAULT_PROTOCOL, metavar="PROTOCOL",
        help=f"a protocol's name or TOML file (default: {DEFAULT_PROTOCOL})",
    )  # fmt: skip
    parser.add_argument(
        "--entrant", action="append", default=[], metavar="NAME",
        help="a defense chain such as trades/vanilla, or a TOML file of entrants with recipes; "
        "may be repeated (default: the protocol's own, else the quickstart's)",
    )  # fmt: skip
    parser.add_argument("--again", action="store_true", help="run every trial once more")
    add_seeds(parser)
    add_results(parser)
    add_compute(parser)
    parser.set_defaults(command=_run)


def _run(options: Namespace) -> int:
    # The imports stand here so that `--help` and the boards need no torch.
    from robustdeq.cli.display import chosen_display
    from robustdeq.engines.local import place
    from robustdeq.engines.matrix import fill
    from robustdeq.engines.row import Row
    from robustdeq.evaluation.protocol import load_protocol
    from robustdeq.results import leaderboard, render, write_boards

    own = own_defenses(options.plugin)
    protocol = load_protocol(options.protocol)
    entries = chosen_entries(options.entrant, own, options.protocol)
    display = chosen_display(options.quiet)
    where = place(options.device, options.workers, options.threads, options.plugin, display)
    data = data_of(protocol)
    images = len(data.test)
    _require_images(protocol, entries, data.test.labels)
    store = growing_store(options.results)
    store.write_protocol(protocol.name, protocol.resolved(images))
    leaderboard(store, protocol.name)  # a damaged record is told before hours are spent
    settings = (options.results, where.device, options.again)
    rows = [
        Row(protocol, entrant, *settings, entry.images)
        for entry in entries
        for entrant in protocol.lineup([entry.entrant], data, options.seed)
    ]
    tell_changes(store, (row.entrant for row in rows))

    def row_done(entrant: "Entrant") -> None:
        if told := _row(store, protocol.name, entrant.chain):
            display.say(told)

    outcomes = fill(rows, images, where, row_done)
    files = write_boards(store, protocol.name)
    print(f"\n{render(store, protocol.name, 'md')}")
    print(f"Board: {', '.join(str(file) for file in files)}")
    print(f"Records: {store.records}    Weights: {store.checkpoints}")
    refuse_failures(outcomes)
    return 0


def _require_images(protocol: "Protocol", entries: "list[Entry]", labels: "Tensor") -> None:
    """
    Raises:
        SpecError: an entry asks for more images than there are.
        DataError: its images are those of a few classes.
    """
    for entry in entries:
        entry.require_images(len(labels))
        protocol.require_variety(labels, entry.images)


def _row(store: ResultStore, protocol: str, chain: str) -> str:
    from robustdeq.results import leaderboard

    rows = [row for row in leaderboard(store, protocol) if row.entrant.split(" ")[0] == chain]
    return "\n".join(
        f"{row.entrant}: {row.clean:.1%} clean, {row.robust:.1%} robust "
        f"[{row.interval[0]:.1%}, {row.interval[1]:.1%}], weakest column {row.weakest}"
        + (f", flags {', '.join(row.flags)}" if row.flags else "")
        for row in rows
        if row.complete
    )
