"""`robustdeq train`: weights without an evaluation."""

import argparse
from argparse import Namespace

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


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train", help="train entrants of a protocol, without attacking them",
        description="Train entrants on a protocol's data and against its threat model. An "
        "interrupted training goes on with the same command; a finished one is kept.",
    )  # fmt: skip
    parser.add_argument("entrant", nargs="*", metavar="ENTRANT", help="a chain: trades/vanilla")
    parser.add_argument(
        "--protocol", default=DEFAULT_PROTOCOL, metavar="PROTOCOL",
        help=f"whose data, threat and training seeds (default: {DEFAULT_PROTOCOL})",
    )  # fmt: skip
    add_seeds(parser)
    add_results(parser)
    add_compute(parser)
    parser.set_defaults(command=_train)


def _train(options: Namespace) -> int:
    from robustdeq.cli.display import chosen_display
    from robustdeq.engines.local import Job, no_more, place, run_jobs
    from robustdeq.engines.outcome import Outcome
    from robustdeq.engines.training import bases, by_id, trainings
    from robustdeq.evaluation.protocol import load_protocol

    own = own_defenses(options.plugin)
    protocol = load_protocol(options.protocol)
    entries = chosen_entries(options.entrant, own, options.protocol)
    data = data_of(protocol)
    entrants = protocol.lineup((entry.entrant for entry in entries), data, options.seed)
    display = chosen_display(options.quiet)
    where = place(options.device, options.workers, options.threads, options.plugin, display)
    store = growing_store(options.results)
    tell_changes(store, entrants)
    shared = protocol, options.results, where.device

    named = by_id(entrants)

    def job_done(outcome: Outcome) -> tuple[Job, ...]:
        for entrant in outcome.finished:
            who = f"{named[entrant].chain} seed {named[entrant].seed}"
            print(f"{who} is trained: log and card in {store.entrants / entrant}")
        return ()

    shared_weights = run_jobs(trainings(by_id(bases(entrants)), *shared), where, no_more)
    refuse_failures(shared_weights + run_jobs(trainings(named, *shared), where, job_done))
    return 0
