"""A board: the standings of one protocol and what has to be said beside them."""

from dataclasses import dataclass

from robustdeq.results.boards.compare import Paired, compared
from robustdeq.results.boards.controls import controls
from robustdeq.results.boards.evidence import Evidence, gather
from robustdeq.results.boards.leaderboard import Standing, standings_of
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.retraction import Retraction


@dataclass(frozen=True)
class Board:
    """The standings of a protocol, best first.

    controlled: each row that has a control on the board, compared with it; in the rows' order.
    alone: the rows that may be ranked against their control alone.
    withdrawn: one sentence for each open retraction.
    """

    protocol: ResolvedProtocol
    standings: list[Standing]
    controlled: list[Paired]
    alone: list[str]
    withdrawn: list[str]


def read_board(store: ResultStore, protocol: str) -> Board:
    """The board of a stored protocol, computed from the records alone.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: a record or table is damaged.
    """
    resolved = store.protocol(protocol)
    evidence = gather(store, resolved)
    standings = standings_of(evidence, resolved)
    return Board(
        resolved,
        standings,
        _controlled(evidence, standings),
        [item.entrant for item in evidence if item.ranks_against is not None],
        _withdrawn(store, resolved),
    )


def _controlled(evidence: list[Evidence], standings: list[Standing]) -> list[Paired]:
    found, by_name = controls(evidence), {item.entrant: item for item in evidence}
    names = [standing.entrant for standing in standings if standing.entrant in found]
    return [compared(by_name[name], found[name]) for name in names]


def _withdrawn(store: ResultStore, protocol: ResolvedProtocol) -> list[str]:
    """A sentence for every retracted figure of the protocol that nothing has replaced yet.

    Nor may a retracted record be deleted: of one that is missing nobody can say whose it was.
    """
    return [
        _missing(retraction) if record is None else _sentence(record, retraction)
        for record, retraction in store.withdrawn()
        if record is None
        or (
            record.data["digest"] == protocol.data["digest"]
            and record.threat == protocol.threat
            and record.column in protocol.columns
            and not store.finished(record.trial, record.checkpoint)
        )
    ]


def _missing(retraction: Retraction) -> str:
    return (
        f"A record was retracted ({retraction.reason}) and is missing: restore "
        f"records/{retraction.stem}.parquet."
    )


def _sentence(record: Record, retraction: Retraction) -> str:
    figure = "a refusal" if record.robust is None else f"{100 * record.robust:.1f} %"
    then = f"; {retraction.replaced_by} is to replace it" if retraction.replaced_by else ""
    return (
        f"{record.entrant['chain']}, seed {record.entrant['seed']}, {record.column['name']}: "
        f"{figure} was retracted ({retraction.reason}{then})."
    )
