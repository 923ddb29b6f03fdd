"""Who enters a protocol: rosters of entrants, the package's and a user's own."""

from dataclasses import dataclass, field
from importlib import resources

from robustdeq.defenses.base import Defense
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import decode_text, file_text, shipped, shipped_text
from robustdeq.spec import decode

_QUICKSTART = "entrants"


@dataclass(frozen=True)
class Entry:
    """One [[entrants]] table; seeds are the protocol's affair.

    Attributes:
        seed: stands here only so that whoever writes one is told why not.
        images: attack only the first so many images of every column, where an inference is too dear
            for all of them. Such a row has no rank; its base stands beside it on the same images.
    """

    defense: Defense
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    images: int | None = None

    def __post_init__(self):
        if self.seed:
            raise SpecError(
                f"{self.defense.chain}: seed {self.seed}; leave it out, a protocol's "
                f"training_seeds say how often each entrant is trained"
            )
        if self.images is not None and self.images < 1:
            raise SpecError(
                f"{self.defense.chain}: images {self.images}; expected at least 1, or leave it out "
                f"to attack all"
            )

    @property
    def entrant(self) -> Entrant:
        """Under training seed 0."""
        return Entrant(self.defense, self.recipe)

    def require_images(self, there: int) -> None:
        """
        Raises:
            SpecError: more images are asked for than the protocol has.
        """
        if self.images is not None and self.images > there:
            raise SpecError(
                f"{self.defense.chain}: images {self.images}, but there are {there}; leave the key "
                f"out to attack all"
            )


@dataclass(frozen=True)
class Roster:
    """The entries of one file, or whose they are.

    Attributes:
        same_as: a shipped protocol, whose roster this is, too.
    """

    entrants: tuple[Entry, ...] = ()
    same_as: str = ""

    def __post_init__(self):
        if not self.entrants and not self.same_as:
            raise SpecError(
                "no entrants; write at least one [[entrants]] table, or same_as = a protocol"
            )
        if self.entrants and self.same_as:
            raise SpecError(
                f"same_as {self.same_as} beside {len(self.entrants)} entrants; write one of the two"
            )
        if self.same_as and self.same_as not in shipped():
            raise SpecError(
                f"same_as {self.same_as}: no such protocol comes with the package; there are "
                f"{', '.join(shipped())}"
            )

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Its own, or those of whom it is the same as."""
        return self.entrants or default_entries(self.same_as)


def default_entries(protocol: str = "") -> tuple[Entry, ...]:
    """A protocol's own roster where one comes with it, else the quickstart's.

    Their recipes are those of the committed boards.
    """
    own = f"{protocol}.{_QUICKSTART}"
    found = (resources.files("robustdeq") / "protocols" / f"{own}.toml").is_file()
    name = own if protocol and found else _QUICKSTART
    return decode_text(Roster, shipped_text(name), name).entries


def find_entry(chain: str, protocol: str = "") -> Entry:
    """The first entry of this chain in the roster, or the chain with default fields and recipe.

    Raises:
        UnknownName: a name in the chain is unknown.
        SpecError: the chain is not well formed.
    """
    for entry in default_entries(protocol):
        if entry.defense.chain == chain:
            return entry
    return decode(Entry, {"defense": chain})


def recipes_elsewhere(chain: str, protocol: str) -> tuple[str, ...]:
    """The shipped protocols that name a recipe for a chain, if this one does not."""
    named = {name: _named(chain, name) for name in (protocol, *shipped())}
    return () if named[protocol] else tuple(name for name in shipped() if named[name])


def _named(chain: str, protocol: str) -> bool:
    return any(entry.defense.chain == chain for entry in default_entries(protocol))


def load_entries(path: str) -> tuple[Entry, ...]:
    """The entries of a TOML file: one [[entrants]] table each, with defense, recipe and images.

    `same_as` instead names a shipped protocol, whose entries they are.

    Raises:
        SpecError: there is no such file, or it does not decode.
    """
    return decode_text(Roster, file_text(path), path).entries
