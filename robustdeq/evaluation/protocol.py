"""Protocols: released lists of columns on one data slice and threat model."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from robustdeq.data.base import DataSet, DataSource
from robustdeq.entrant import Entrant
from robustdeq.errors import DataError, SpecError, UnknownName
from robustdeq.evaluation.column import Column
from robustdeq.hints import hint
from robustdeq.spec import decode, encode
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Protocol:
    """An immutable list of required columns.

    Attributes:
        data: the source whose test split is attacked.
        digest: of that split; loading another one is an error, so that no figure can be compared
            across different images.
        training_seeds: the entrants' seeds that a complete row has.
        adaptive: the template of the columns that the harness derives from what an entrant does at
            inference: its stages on each derived view (see `robustdeq.evaluation.adaptive`). None
            derives nothing, and then no inference defense ranks.
        note: what a reader of the board has to know.
    """

    name: str
    data: DataSource
    digest: str
    threat: ThreatModel
    columns: tuple[Column, ...]
    training_seeds: tuple[int, ...] = (0,)
    note: str = ""
    adaptive: Column | None = None

    def __post_init__(self):
        if re.fullmatch(r"\w[\w.-]*", self.name) is None:
            raise SpecError(f"name {self.name!r}; expected letters, digits, '-', '_' and '.'")
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise SpecError(f"columns {names}; expected at least one, each with its own name")
        seeds = self.training_seeds
        if not seeds or len(set(seeds)) < len(seeds):
            raise SpecError(f"training_seeds {seeds}; expected at least one, none twice")

    def load_data(self) -> DataSet:
        """The protocol's data, verified.

        Raises:
            DataError: the files are missing or damaged, hold other images than the protocol's, or
                test images that are trained on; or the first images of a column are of few classes.
            SpecError: a column asks for more images than there are, or the radius reaches all.
        """
        data = self.data.load()
        if (found := data.test.digest()) != self.digest:
            raise DataError(
                f"protocol {self.name}: the test images have digest {found}, expected "
                f"{self.digest}; restore the original files, or give a protocol of your own the "
                f"digest of its images"
            )
        self.threat.require_fit(data.shape)
        for column in self.columns:
            if column.images is not None and column.images > len(data.test):
                raise SpecError(
                    f"protocol {self.name}, column {column.name!r}: images {column.images}, but "
                    f"there are {len(data.test)}; leave the key out to attack all"
                )
        self.require_variety(data.test.labels)
        return data.examined()

    def require_variety(self, labels: Int[Tensor, " n"], first: int | None = None) -> None:
        """Refuse columns on images of a few classes, also if cut to the `first` so many.

        Raises:
            DataError: as `Column.require_variety`.
        """
        for column in (*self.columns, *((self.adaptive,) if self.adaptive else ())):
            column.on_first(first).require_variety(labels)

    def entered(self, entrant: Entrant, data: DataSet) -> Entrant:
        """An entrant of this protocol: against its threat, on its training data."""
        return self._all_entered([entrant], data)[0]

    def lineup(
        self, entrants: Iterable[Entrant], data: DataSet, seeds: Sequence[int] = ()
    ) -> list[Entrant]:
        """Every entrant as it enters, under every training seed, each of them once.

        Args:
            data: the protocol's.
            seeds: only these training seeds; none means all.

        Raises:
            SpecError: a seed is none of the protocol's.
        """
        self.require_seeds(seeds)
        entered = self._all_entered(entrants, data)
        seeded = (
            replace(entrant, seed=seed)
            for entrant in entered
            for seed in seeds or self.training_seeds
        )
        return list({entrant.id: entrant for entrant in seeded}.values())

    def require_seeds(self, seeds: Iterable[int]) -> None:
        """
        Raises:
            SpecError: one is no training seed of this protocol.
        """
        for seed in seeds:
            if seed not in self.training_seeds:
                known = ", ".join(map(str, self.training_seeds))
                raise SpecError(f"seed {seed} is no training seed of {self.name}; it has {known}")

    def resolved(self, images: int) -> dict[str, Any]:
        """Plain data for the store, from which boards are computed without any plug-in."""
        return {
            "name": self.name,
            "data": self.slice(images),
            "threat": encode(self.threat),
            "training_seeds": list(self.training_seeds),
            "columns": encode(self.columns),
            "note": self.note,
            **({"adaptive": encode(self.adaptive)} if self.adaptive else {}),
        }

    def sources(self, data: DataSet) -> list[Entrant]:
        """The networks that any column transfers from, as they enter, each of them once."""
        listed = (source for column in self.columns for source in column.sources)
        return list({one.id: one for one in self._all_entered(listed, data)}.values())

    def _all_entered(self, entrants: Iterable[Entrant], data: DataSet) -> list[Entrant]:
        digest = data.training_digest()
        return [entrant.against(self.threat).trained_on(digest) for entrant in entrants]

    def slice(self, images: int) -> dict[str, Any]:
        """The data slice as records name it."""
        return {"name": self.data.plugin_name(), "digest": self.digest, "n": images}


def shipped() -> list[str]:
    """The names of the protocols that come with the package."""
    folder = resources.files("robustdeq") / "protocols"
    names = (item.name.removesuffix(".toml") for item in folder.iterdir())
    return sorted(name for name in names if not name.endswith("entrants"))


def load_protocol(name: str) -> Protocol:
    """A shipped protocol by name, or one of your own by the path of its TOML file.

    Raises:
        UnknownName: no such protocol; the message offers the nearest name.
        SpecError: the file does not decode.
    """
    if name.endswith(".toml"):
        return decode_text(Protocol, file_text(name), name)
    if name not in shipped():
        raise UnknownName("protocol", name, shipped())
    return decode_text(Protocol, shipped_text(name), name)


def file_text(path: str) -> str:
    """The text of a user's file.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {path!r} ({error}); give the path of a TOML file") from None


def shipped_text(name: str) -> str:
    """The text of a file that comes with the package, by its name without ".toml"."""
    return (resources.files("robustdeq") / "protocols" / f"{name}.toml").read_text(encoding="utf-8")


def decode_text(wanted: type, text: str, where: str) -> Any:
    """The value that a TOML text describes; `where` names it in messages.

    Raises:
        SpecError: it is not TOML, or does not decode.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{where}: not TOML ({error}); mend the file") from None
    if wanted is Protocol and "entrants" in data:
        raise SpecError(
            f"{where} is a roster of entrants; expected a protocol: say which with "
            f"{hint('run', 'PROTOCOL', '--entrant', where)}"
        )
    if wanted is not Protocol and "columns" in data:
        raise SpecError(
            f"{where} is a protocol; expected a roster of [[entrants]] tables: it is taken by "
            f"{hint('run', where)}"
        )
    try:
        return decode(wanted, data)
    except SpecError as error:
        error.args = (f"{where}: {error}",)
        raise
