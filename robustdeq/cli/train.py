"""`robustdeq train`: weights without an evaluation."""

import argparse
from argparse import Namespace

from robustdeq.cli.options import (
    DEFAULT_PROTOCOL,
    add_compute,
    add_results,
    chosen_entrants,
)
from robustdeq.results.store import ResultStore


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
    add_results(parser)
    add_compute(parser)
    parser.set_defaults(command=_train)


def _train(options: Namespace) -> int:
    import torch

    from robustdeq.engines.local import place, with_seeds
    from robustdeq.evaluation.protocol import load_protocol
    from robustdeq.training.trained import ensure_trained

    protocol = load_protocol(options.protocol)
    entrants = chosen_entrants(options.entrant, options.plugin)
    where = place(options.device, options.workers, options.threads, options.plugin)
    torch.set_num_threads(where.threads)
    device = torch.device(where.device)
    store, data = ResultStore(options.results), protocol.load_data()
    for entrant in with_seeds(entrants, protocol.training_seeds):
        entrant = entrant.against(protocol.threat)
        trained = ensure_trained(store, entrant, data, device, None if options.quiet else 0)
        folder = store.entrants / entrant.id
        print(f"{entrant.chain} seed {entrant.seed}: {trained.checkpoint[:8]}, log in {folder}")
    return 0
