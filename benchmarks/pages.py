"""What commands share that print a page and may write it, too."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from robustdeq.results.store.files import write


def page_parser(doc: str | None) -> ArgumentParser:
    """A parser that is described by the first line of a module's text, with `--out`."""
    parser = ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="also write the page here")
    return parser


def parsed(parser: ArgumentParser, least_seeds: int = 1) -> Namespace:
    """The options; from here on torch computes on one thread, whose sums are the same each time.

    Args:
        least_seeds: what the page's intervals take of `--seeds`, where there is such an option.
    """
    options = parser.parse_args()
    seeds = getattr(options, "seeds", least_seeds)
    if seeds < least_seeds:
        parser.error(f"--seeds {seeds}; expected at least {least_seeds}")
    torch.set_num_threads(1)
    return options


def publish(page: str, options: Namespace) -> None:
    """Print the page, and write it where `--out` says."""
    print(page)
    if options.out:
        write(options.out, (page.rstrip("\n") + "\n").encode())
