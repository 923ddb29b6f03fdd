"""The page of one audit, and the verdict that its flags come to."""

from collections.abc import Iterable

from robustdeq.errors import StoreError
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.page import Bullets, Heading, Page, Table, Text
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.text import NONE, per_cent

# With one of these there is no figure to trust or distrust: the answer is no function of the image.
UNDEFINED = ("nondeterministic", "stateful", "row-coupled", "non-finite")


def verdict(flags: Iterable[str]) -> str:
    """ "trustworthy", "suspicious: ..." or "not evaluable: ..."; notes alone change nothing."""
    names = in_order(flags)
    if undefined := [name for name in names if name in UNDEFINED]:
        return f"not evaluable: {', '.join(undefined)}"
    if blocking := [name for name in names if find_flag(name).blocking]:
        return f"suspicious: {', '.join(blocking)}"
    return "trustworthy"


def audit_page(store: ResultStore, trial: str) -> Page:
    """The newest audit of a trial: every figure, the flags explained, the verdict.

    Raises:
        StoreError: there is no record of that trial.
    """
    found = [record for record in store.scan({"trial": trial}) if record.status == "done"]
    if not found:
        raise StoreError(f"{store.records} has no audit {trial}; run the same command again")
    record = max(found, key=lambda r: (r.provenance["created"], r.run))
    names = in_order(flag["name"] for flag in record.flags)
    lines = store.table(record, "audit").to_pylist()
    columns = {
        "check": lambda line: line["check"],
        "value": lambda line: NONE if line["value"] is None else f"{line['value']:.3g}",
        "outcome": lambda line: line["detail"],
    }
    return Page.of(
        Heading(f"Audit of {record.entrant['chain']}, seed {record.entrant['seed']}"),
        Text(_figures(record)),
        Table.of(lines, columns, left=("check", "outcome")),
        Bullets(tuple(str(find_flag(name)) for name in names)),
        Text(f"Verdict: {verdict(names)}"),
    )


def _figures(record: Record) -> str:
    return (
        f"{record.n} images of {record.data['name']}, {record.threat['name']} radius "
        f"{record.threat['eps']}: {per_cent(record.clean)} % right, {per_cent(record.robust)} % "
        f"right after the white-box union; checkpoint {record.checkpoint[:8]}"
    )
