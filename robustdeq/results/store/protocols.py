"""The folder of resolved protocols: written once, and never changed."""

from pathlib import Path
from typing import Any

from robustdeq.errors import SpecError, StoreError, UnknownName
from robustdeq.results.store.files import listed, read_text, write_once
from robustdeq.results.store.protocol import ResolvedProtocol, first_difference
from robustdeq.results.store.released import require_released
from robustdeq.spec import decode, encode


class Protocols:
    """The protocols that the records of a store belong to."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, name: str, resolved: dict[str, Any]) -> Path:
        """Keep a resolved protocol beside its records; again with the same content does nothing.

        Raises:
            SpecError: `resolved` is not a protocol of this name.
            StoreError: another protocol of this name is stored; a released one never changes.
        """
        protocol = decode(ResolvedProtocol, resolved, f"protocol {name}")
        if protocol.name != name:
            raise SpecError(f"protocol {protocol.name!r} cannot be stored as {name!r}")
        path = self._path(name)
        try:
            if not path.exists():
                write_once(path, protocol.to_json().encode())
        except StoreError:
            if not path.exists():  # else another process stored it meanwhile
                raise
        if (stored := self.read(name)) != protocol:
            where, before, now = first_difference(encode(stored), encode(protocol))
            raise StoreError(
                f"{path} holds another protocol {name!r}: {where} is {before} there, and now "
                f"{now}; a released protocol never changes, so give the new one a new name or use "
                f"another results folder"
            )
        return path

    def names(self) -> list[str]:
        """The names of the stored protocols, sorted."""
        return [path.stem for path in listed(self._folder, ".json")]

    def read(self, name: str) -> ResolvedProtocol:
        """A stored protocol.

        Raises:
            UnknownName: none of this name is stored; the message offers the nearest.
            StoreError: its file is damaged, or not what was released under its name.
        """
        if name not in self.names():
            raise UnknownName(f"protocol in {self._folder.parent}", name, self.names())
        path = self._path(name)
        protocol = ResolvedProtocol.from_json(read_text(path), str(path))
        require_released(protocol, str(path))
        return protocol

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
