"""Options that several commands share."""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from robustdeq.errors import SpecError, TrialsFailed, UnknownName
from robustdeq.hints import hint
from robustdeq.progress import PLAIN
from robustdeq.results.store.files import read_text
from robustdeq.results.store.result_store import ResultStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robustdeq.data.base import DataSet
    from robustdeq.engines.outcome import Outcome
    from robustdeq.entrant import Entrant
    from robustdeq.evaluation.protocol import Protocol
    from robustdeq.evaluation.roster import Entry

DEFAULT_PROTOCOL = "digits-linf-v1"


def folder(text: str) -> Path:
    """A path as typed; a shell leaves the tilde of `--results=~/x` to the program."""
    return Path(text).expanduser()


def add_results(parser: argparse.ArgumentParser) -> None:
    """--results: which store."""
    parser.add_argument(
        "--results", metavar="DIR", type=folder, default=Path("runs"),
        help="the results folder (default: ./runs)",
    )  # fmt: skip


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """--seed: some of the protocol's training seeds."""
    parser.add_argument(
        "--seed", action="append", type=int, default=[], metavar="S",
        help="only this training seed of the protocol; may be repeated (default: all)",
    )  # fmt: skip


def add_compute(parser: argparse.ArgumentParser) -> None:
    """--device, --workers, --threads, --quiet, --plugin: where things run, and what else may."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="where to compute (default: auto, the GPU where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=int,
        help="trainings or columns computed at the same time (default: one per core; one on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", metavar="N", type=int, help="CPU threads of each worker (default: 1)"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show results alone, and not how far things are"
    )
    add_plugin(parser)


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """--plugin: lone files."""
    parser.add_argument(
        "--plugin", metavar="FILE", action="append", default=[],
        help="a Python file with one defense, attack, ... of your own; may be repeated",
    )  # fmt: skip


def protocol_of(store: ResultStore, name: str | None) -> str:
    """The protocol a board is of: as named, else the only one with records, else the default.

    Args:
        name: of the protocol, or its TOML file.

    Raises:
        UnknownName: the store has no such protocol.
    """
    known = store.protocols()
    if name and name.endswith(".toml"):
        name = _named_in(name)
    chosen = name or (known[0] if len(known) == 1 else DEFAULT_PROTOCOL)
    if chosen not in known:
        if not known:
            chosen = ["PROTOCOL"] if name else []
            command = hint("run", "--results", store.root, *chosen)
            how = " with its name or TOML file" if name else ""
            raise SpecError(f"{store.root} holds no results yet; {command}{how} makes some")
        raise UnknownName(f"protocol in {store.root}", chosen, known)
    return chosen


def _named_in(file: str) -> str:
    """The name that a protocol's TOML file states; that of the file where it states none."""
    path = folder(file)
    if not path.is_file():
        raise SpecError(f"there is no protocol file {file!r}; give a name or a TOML file")
    try:
        return tomllib.loads(read_text(path)).get("name", path.stem)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None


def growing_store(root: Path) -> ResultStore:
    """A results folder that a command is going to add to.

    Raises:
        StoreError: it is of an older schema, which is told before anything is trained.
    """
    store = ResultStore(root)
    store.require_current()
    return store


def own_defenses(paths: list[str]) -> list[str]:
    """Load lone files; returns the chains by which their defenses enter, wrappers around the stock
    DEQ.

    Raises:
        SpecError, ContractViolation: a file is no plug-in, or hides another.
    """
    from robustdeq.engines.local import load_plugins
    from robustdeq.testing.declarations import misspelled

    loaded = load_plugins(paths)
    for complaint in (each for plugin in loaded for each in misspelled(plugin)):
        print(f"robustdeq: {complaint}", file=sys.stderr)
    return own_chains(loaded)


def own_chains(plugins: list[type]) -> list[str]:
    """The chains by which the defenses among some plug-ins enter."""
    from robustdeq.defenses.base import Defense, Wrapper

    own = [plugin for plugin in plugins if issubclass(plugin, Defense)]
    return [d.plugin_name() + ("/vanilla" if issubclass(d, Wrapper) else "") for d in own]


def chosen_entries(names: list[str], own: list[str], protocol: str = "") -> "list[Entry]":
    """The entries a user names by chain or by file, else those of `own` plug-ins, else the
    protocol's.

    Raises:
        UnknownName, SpecError: a name or a file is not right.
    """
    from robustdeq.evaluation.roster import default_entries, find_entry, load_entries

    listed = [
        load_entries(name) if name.endswith(".toml") else (find_entry(name, protocol),)
        for name in names or own
    ]
    if protocol:
        _tell_of_recipes(names, protocol)
    return [entry for group in listed for entry in group] or list(default_entries(protocol))


def _tell_of_recipes(chains: list[str], protocol: str) -> None:
    """Say which chains get the default recipe though another protocol's roster has one for them."""
    from robustdeq.evaluation.roster import recipes_elsewhere

    for chain in chains:
        if others := recipes_elsewhere(chain, protocol):
            PLAIN.say(
                f"{chain}: {protocol} names no recipe for it, so it gets the default one; that of "
                f"the boards is in {' and '.join(others)}: choose one of these as the protocol"
            )


def data_of(protocol: "Protocol") -> "DataSet":
    """A protocol's data; what its notes say is told.

    Raises:
        DataError, SpecError: as `Protocol.load_data`.
    """
    from robustdeq.engines.training import reloaded

    data = reloaded(protocol)
    for note in data.notes:
        PLAIN.say(f"{protocol.name}: {note}")
    return data


def tell_changes(store: ResultStore, entrants: "Iterable[Entrant]") -> None:
    """Say of each entrant that is not known here any more why that is so."""
    from robustdeq.training.changes import changes

    for sentence in changes(store, entrants):
        PLAIN.say(sentence)


def refuse_failures(outcomes: "list[Outcome]") -> None:
    """
    Raises:
        TrialsFailed: a part of a job failed; the message names the first.
    """
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    if failures:
        what, reason = failures[0]
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise TrialsFailed(
            f"{what} failed ({reason}){more}; the rest is stored, and the same command tries again"
        )
