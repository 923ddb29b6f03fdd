"""The report of an audit, from its record."""

from collections.abc import Iterable

from robustdeq.errors import StoreError
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.markdown import per_cent, table
from robustdeq.results.record import Record
from robustdeq.results.store import ResultStore

# With one of these there is no figure to trust or distrust: the answer is no function of the image.
UNDEFINED = ("nondeterministic", "stateful", "row-coupled", "non-finite")
_HEADER = ("check", "value", "outcome")


def verdict(flags: Iterable[str]) -> str:
    """ "trustworthy", "suspicious: ..." or "not evaluable: ..."; notes alone change nothing."""
    names = in_order(flags)
    if undefined := [name for name in names if name in UNDEFINED]:
        return f"not evaluable: {', '.join(undefined)}"
    if blocking := [name for name in names if find_flag(name).blocking]:
        return f"suspicious: {', '.join(blocking)}"
    return "trustworthy"


def audit_text(store: ResultStore, trial: str) -> str:
    """The newest audit of a trial as Markdown: every figure, the flags explained, the verdict.

    Raises:
        StoreError: there is no record of that trial.
    """
    found = [record for record in store.scan({"trial": trial}) if record.status == "done"]
    if not found:
        raise StoreError(f"{store.records} has no audit {trial}; run the same command again")
    record = max(found, key=lambda r: (r.provenance["created"], r.run))
    lines = store.table(record, "audit").to_pylist()
    rows = [
        [line["check"], "-" if line["value"] is None else f"{line['value']:.3g}", line["detail"]]
        for line in lines
    ]
    names = in_order(flag["name"] for flag in record.flags)
    blocks = [
        f"# Audit of {record.entrant['chain']}, seed {record.entrant['seed']}",
        _figures(record),
        table(_HEADER, rows, left=("check", "outcome")),
        "\n".join(f"- {find_flag(name)}" for name in names),
        f"Verdict: {verdict(names)}",
    ]
    return "\n\n".join(block for block in blocks if block)


def _figures(record: Record) -> str:
    return (
        f"{record.n} images of {record.data['name']}, {record.threat['name']} radius "
        f"{record.threat['eps']}: {per_cent(record.clean)} % right, {per_cent(record.robust)} % "
        f"right after the white-box union; checkpoint {record.checkpoint[:8]}"
    )
