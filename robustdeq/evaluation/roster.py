"""Who enters a protocol: rosters of entrants, the package's and a user's own."""

from dataclasses import dataclass
from importlib import resources

from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import decode_text, file_text, shipped_text
from robustdeq.spec import decode

_QUICKSTART = "entrants"


@dataclass(frozen=True)
class Roster:
    """The entrants of one file; seeds are the protocol's affair."""

    entrants: tuple[Entrant, ...]

    def __post_init__(self):
        if not self.entrants:
            raise SpecError("no entrants; write at least one [[entrants]] table")
        for entrant in self.entrants:
            if entrant.seed:
                raise SpecError(
                    f"{entrant.chain}: seed {entrant.seed}; leave it out, a protocol's "
                    f"training_seeds say how often each entrant is trained"
                )


def default_entrants(protocol: str = "") -> tuple[Entrant, ...]:
    """A protocol's own roster where one comes with it, else the quickstart's.

    Their recipes are those of the committed boards.
    """
    own = f"{protocol}.{_QUICKSTART}"
    found = (resources.files("robustdeq") / "protocols" / f"{own}.toml").is_file()
    name = own if protocol and found else _QUICKSTART
    return decode_text(Roster, shipped_text(name), name).entrants


def find_entrant(chain: str, protocol: str = "") -> Entrant:
    """The first entrant of this chain in the roster, or the chain with default fields and recipe.

    Raises:
        UnknownName: a name in the chain is unknown.
        SpecError: the chain is not well formed.
    """
    for entrant in default_entrants(protocol):
        if entrant.chain == chain:
            return entrant
    return decode(Entrant, {"defense": chain})


def load_entrants(path: str) -> tuple[Entrant, ...]:
    """The entrants of a TOML file: one [[entrants]] table each, with defense and recipe.

    Raises:
        SpecError: there is no such file, or it does not decode.
    """
    return decode_text(Roster, file_text(path), path).entrants
