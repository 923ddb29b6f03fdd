"""`robustdeq list`: what there is, by name."""

import argparse
import dataclasses
import json
from argparse import Namespace
from typing import Any

from robustdeq.cli.options import add_plugin
from robustdeq.errors import UnknownName
from robustdeq.kinds import CONTRACTS

KINDS = (*sorted(CONTRACTS), "flags", "protocols")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "list", help="list the plug-ins of a kind, the protocols, or the flags",
        description=f"List what is registered, with the fields of each plug-in and their defaults. "
        f"Kinds: {', '.join(KINDS)}.",
    )  # fmt: skip
    parser.add_argument("kind", metavar="KIND", help="defenses, attacks, protocols, ...")
    add_plugin(parser)
    parser.set_defaults(command=_list)


def _list(options: Namespace) -> int:
    if options.kind not in KINDS:
        raise UnknownName("kind", options.kind, KINDS)
    from robustdeq import registry
    from robustdeq.cli.options import own_defenses
    from robustdeq.cli.report import goals_with_pages
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
        if options.kind == "reports":
            found |= goals_with_pages()
        entries = {name: _about(plugin) for name, plugin in found.items()}
    width = max(map(len, entries), default=0)
    for name, text in entries.items():
        first, *more = text.splitlines() or [""]
        print("\n".join([f"{name:{width}}  {first}", *(f"{'':{width}}  {line}" for line in more)]))
    return 0


def _about(plugin: type) -> str:
    """What it is in one line, its size and fields in another, and what its paper says of it."""
    facts = [*_size(plugin), *_fields(plugin)]
    return "\n".join([_line(plugin), *([", ".join(facts)] if facts else []), *_paper(plugin)])


def _size(plugin: type) -> list[str]:
    """The parameters of a defense's own network on the digits; nothing of a wrapper."""
    from robustdeq.defenses.base import Defense, Task, Wrapper
    from robustdeq.errors import SpecError
    from robustdeq.models.base import parameter_count

    if not issubclass(plugin, Defense) or issubclass(plugin, Wrapper):
        return []
    try:
        network = plugin().build(Task((1, 8, 8), 10))
    except SpecError:  # not for such images
        return []
    return [f"{parameter_count(network):,} parameters on 8x8 digits"]


def _fields(plugin: type) -> list[str]:
    """Each field with its default, "steps = 20"; the name alone where one must be given."""
    from robustdeq.spec import encode

    told = []
    for field in dataclasses.fields(plugin) if dataclasses.is_dataclass(plugin) else ():
        if field.default_factory is not dataclasses.MISSING:
            told.append(f"{field.name} = {_plain(encode(field.default_factory()))}")
        elif field.default is dataclasses.MISSING:
            told.append(field.name)
        elif isinstance(field.default, float):  # infinite ones have no spec
            told.append(f"{field.name} = {field.default}")
        else:
            told.append(f"{field.name} = {_plain(encode(field.default))}")
    return told


def _plain(encoded: Any) -> str:
    """A spec as TOML writes it; a plug-in at its own defaults by its name, none as a dash."""
    if isinstance(encoded, dict):
        fields = {key: value for key, value in encoded.items() if key not in ("version", "content")}
        if set(fields) == {"name"}:
            return _plain(fields["name"])
        return f"{{ {', '.join(f'{key} = {_plain(value)}' for key, value in fields.items())} }}"
    return "-" if encoded is None else json.dumps(encoded)


def _line(plugin: type) -> str:
    """The first paragraph of its docstring; of a defense, also its stage."""
    from robustdeq.defenses.base import Defense

    sentence = " ".join((plugin.__doc__ or "").split("\n\n")[0].split())
    return f"[{plugin.stage}] {sentence}" if issubclass(plugin, Defense) else sentence


def _paper(plugin: type) -> list[str]:
    """Where a defense comes from, and what its authors reported."""
    from robustdeq.defenses.base import Defense

    if not issubclass(plugin, Defense):
        return []
    card = plugin.card
    source = ", ".join(filter(None, (card.title, card.citation, card.equation)))
    return [source, *(f"reported there: {figure}" for figure in card.reported)]
