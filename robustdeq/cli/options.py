"""Options that several commands share."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robustdeq.errors import SpecError, UnknownName
from robustdeq.results.store import ResultStore

if TYPE_CHECKING:
    from robustdeq.entrant import Entrant

DEFAULT_PROTOCOL = "digits-linf-v1"


def add_results(parser: argparse.ArgumentParser) -> None:
    """--results: which store."""
    parser.add_argument(
        "--results", metavar="DIR", type=Path, default=Path("runs"),
        help="the results folder (default: ./runs)",
    )  # fmt: skip


def add_compute(parser: argparse.ArgumentParser) -> None:
    """--device, --workers, --threads, --quiet, --plugin: where things run, and what else may."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="where to compute (default: auto, the GPU where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=int,
        help="entrants computed at the same time (default: one per core; one on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", metavar="N", type=int, help="CPU threads of each worker (default: 1)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    add_plugin(parser)


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """--plugin: lone files."""
    parser.add_argument(
        "--plugin", metavar="FILE", action="append", default=[],
        help="a Python file with one defence, attack, ... of your own; may be repeated",
    )  # fmt: skip


def protocol_of(store: ResultStore, name: str | None) -> str:
    """The protocol a board is of: as named, else the only one with records, else the default.

    Raises:
        UnknownName: the store has no such protocol.
    """
    known = store.protocols()
    chosen = name or (known[0] if len(known) == 1 else DEFAULT_PROTOCOL)
    if chosen not in known:
        if not known:
            raise SpecError(f"{store.root} holds no results yet; `robustdeq run` makes some")
        raise UnknownName(f"protocol in {store.root}", chosen, known)
    return chosen


def chosen_entrants(names: list[str], plugins: list[str]) -> "list[Entrant]":
    """The entrants a user names, by chain or by file; plug-in defences by default, else the
    quickstart's.

    Raises:
        UnknownName, SpecError, ContractViolation: a name or a plug-in file is not right.
    """
    from robustdeq import registry
    from robustdeq.evaluation.protocol import default_entrants, find_entrant, load_entrants

    loaded = [plugin for path in plugins for plugin in registry.load_file(path)]
    if names:
        listed = (load_entrants(n) if n.endswith(".toml") else (find_entrant(n),) for n in names)
        return [entrant for group in listed for entrant in group]
    own = [name for kind, name in loaded if kind == "defenses"]
    if not own:
        return list(default_entrants())
    return [find_entrant(_with_base(name)) for name in own]


def _with_base(name: str) -> str:
    """A wrapper alone is tried around the stock DEQ."""
    from robustdeq import registry
    from robustdeq.defenses.base import Wrapper

    return f"{name}/vanilla" if issubclass(registry.find("defenses", name), Wrapper) else name
