"""A board: the standings of one protocol and what has to be said beside them."""

from dataclasses import dataclass

from robustdeq.results.leaderboard import Standing, leaderboard
from robustdeq.results.protocol import ResolvedProtocol
from robustdeq.results.record import Record
from robustdeq.results.retraction import Retraction
from robustdeq.results.store import ResultStore


@dataclass(frozen=True)
class Board:
    """The standings of a protocol, best first, and one sentence for each open retraction."""

    protocol: ResolvedProtocol
    standings: list[Standing]
    withdrawn: list[str]


def read_board(store: ResultStore, protocol: str) -> Board:
    """The board of a stored protocol, computed from the records alone.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: a record or table is damaged.
    """
    resolved = store.protocol(protocol)
    return Board(resolved, leaderboard(store, protocol), _withdrawn(store, resolved))


def _withdrawn(store: ResultStore, protocol: ResolvedProtocol) -> list[str]:
    """A sentence for every retracted figure of the protocol that nothing has replaced yet."""
    retractions = store.retractions()
    if not retractions:
        return []
    where = {"data.digest": protocol.data["digest"], "threat": protocol.threat}
    records = [r for r in store.scan(where, retracted=True) if r.column in protocol.columns]
    standing = {(r.trial, r.checkpoint) for r in records if r.stem not in retractions}
    return [
        _sentence(record, retractions[record.stem])
        for record in records
        if record.stem in retractions and (record.trial, record.checkpoint) not in standing
    ]


def _sentence(record: Record, retraction: Retraction) -> str:
    figure = "a refusal" if record.robust is None else f"{100 * record.robust:.1f} %"
    then = f"; {retraction.replaced_by} is to replace it" if retraction.replaced_by else ""
    return (
        f"{record.entrant['chain']}, seed {record.entrant['seed']}, {record.column['name']}: "
        f"{figure} was retracted ({retraction.reason}{then})."
    )
