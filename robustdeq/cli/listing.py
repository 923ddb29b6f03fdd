"""`robustdeq list`: what there is, by name."""

import argparse
from argparse import Namespace

from robustdeq.cli.options import add_plugin
from robustdeq.errors import UnknownName
from robustdeq.registry import CONTRACTS

KINDS = (*sorted(CONTRACTS), "flags", "protocols")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "list", help="list the plug-ins of a kind, the protocols, or the flags",
        description=f"List what is registered. Kinds: {', '.join(KINDS)}.",
    )  # fmt: skip
    parser.add_argument("kind", metavar="KIND", help="defenses, attacks, protocols, ...")
    add_plugin(parser)
    parser.set_defaults(command=_list)


def _list(options: Namespace) -> int:
    if options.kind not in KINDS:
        raise UnknownName("kind", options.kind, KINDS)
    from robustdeq import registry
    from robustdeq.cli.options import own_defenses
    from robustdeq.evaluation.protocol import load_protocol, shipped
    from robustdeq.results.flags import FLAGS

    own_defenses(options.plugin)
    if options.kind == "flags":
        print("\n".join(str(flag) for flag in FLAGS))
        return 0
    if options.kind == "protocols":
        entries = {name: load_protocol(name).note for name in shipped()}
    else:
        found = {name: registry.find(options.kind, name) for name in registry.names(options.kind)}
        entries = {name: _line(plugin) for name, plugin in found.items()}
    width = max(map(len, entries), default=0)
    for name, line in entries.items():
        print(f"{name:{width}}  {line}")
    return 0


def _line(plugin: type) -> str:
    """The first paragraph of its docstring; of a defence, also stage and paper."""
    sentence = " ".join((plugin.__doc__ or "").split("\n\n")[0].split())
    if plugin.__dict__.get("card") is None:
        return sentence
    from robustdeq.defenses.base import Defense

    assert issubclass(plugin, Defense)
    return f"[{plugin.stage}] {sentence} {plugin.card.citation}"
