"""Protocols that are released: their content never changes, and a store may not change it."""

from types import MappingProxyType

from robustdeq.errors import StoreError
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.spec import encode, plain_digest

# name -> the digest of the resolved protocol
RELEASED = MappingProxyType(
    {
        "digits-linf-jumps": "5913bb58f9c8be54",
        "digits-linf-v1": "5b225599f078442e",
        "digits-linf-v2": "80c090fad8b5a304",
    }
)


def require_released(protocol: ResolvedProtocol, file: str) -> None:
    """Refuse another content under a released name.

    Raises:
        StoreError: the digests differ.
    """
    wanted = RELEASED.get(protocol.name)
    if wanted is not None and protocol_digest(protocol) != wanted:
        raise StoreError(
            f"{file} is not the protocol {protocol.name!r} that was released; restore the file, or "
            f"give what it says a name of its own"
        )


def protocol_digest(protocol: ResolvedProtocol) -> str:
    """Of all that a resolved protocol says, 16 hex digits."""
    return plain_digest(encode(protocol))
