"""The report of an audit, and of all of them, from the records."""

from collections.abc import Iterable, Iterator
from typing import Any

from robustdeq.aims import aim_of
from robustdeq.errors import StoreError
from robustdeq.hints import hint
from robustdeq.results.boards.statistics import upper_bound
from robustdeq.results.flags import find_flag, in_order
from robustdeq.results.formats.markdown import NONE, per_cent, table
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import canonical

# With one of these there is no figure to trust or distrust: the answer is no function of the image.
UNDEFINED = ("nondeterministic", "stateful", "row-coupled", "non-finite")
_HEADER = ("check", "value", "outcome")
_AUDITED = (
    "entrant", "training seed", "attack seed", "data", "threat", "clean", "after the union", "n",
    "flags", "verdict",
)  # fmt: skip


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


def audits(store: ResultStore, protocol: str | None = None) -> str:
    """Every audit as Markdown, and how many end with a warning.

    Args:
        protocol: on whose data and threat; None for all.

    Raises:
        UnknownName: the store has no such protocol.
        StoreError: there has been no audit.
    """
    newest = _audited(store, protocol)
    if not newest:
        chosen = ["--protocol", "PROTOCOL"] if protocol else []
        command = hint("audit", "ENTRANT", "--results", store.root, *chosen)
        how = f", and the name or TOML file of {protocol}" if protocol else ""
        raise StoreError(f"{store.root} has no such audit; run {command} with a chain{how}")
    blocks = [
        f"# Audits on {protocol}" if protocol else "# Audits",
        "Accuracies in per cent. A flag is raised where two seeds in a row agree on it; one that "
        "blocks a rank makes the verdict suspicious.",
        table(_AUDITED, [_audit_row(record) for record in newest], ("entrant", "flags", "verdict")),
        "\n".join(_rates(newest)),
    ]
    return "\n\n".join(blocks) + "\n"


def _audited(store: ResultStore, protocol: str | None) -> list[Record]:
    """The newest audit of each checkpoint, chain, number of images and attack seed."""
    where: dict[str, Any] = {"status": "done"}
    if protocol:
        resolved = store.protocol(protocol)
        where |= {"data.digest": resolved.data["digest"], "threat": resolved.threat}
    records = [r for r in store.scan(where) if not aim_of(r.column).staged]
    order = sorted(records, key=lambda r: (r.provenance["created"], r.run))
    newest = {(r.trial, r.checkpoint): r for r in order}
    return sorted(
        newest.values(), key=lambda r: (_attack_seed(r), r.entrant["chain"], r.entrant["seed"])
    )


def _attack_seed(record: Record) -> int:
    return record.column["seeds"][0]


def _audit_row(record: Record) -> list[str]:
    names = in_order(flag["name"] for flag in record.flags)
    return [
        record.entrant["chain"],
        str(record.entrant["seed"]),
        str(_attack_seed(record)),
        record.data["name"],
        f"{record.threat['name']} {record.threat['eps']}",
        per_cent(record.clean),
        per_cent(record.robust),
        str(record.n),
        ", ".join(names) or NONE,
        verdict(names),
    ]


def _rates(records: list[Record]) -> Iterator[str]:
    """How often a warning comes, by attack seed; weights that were audited twice count once."""
    for seed in sorted({_attack_seed(record) for record in records}):
        trusted: dict[str, bool] = {}
        for record in (each for each in records if _attack_seed(each) == seed):
            of = canonical([record.checkpoint, record.entrant["defense"]])
            fine = verdict(flag["name"] for flag in record.flags) == "trustworthy"
            trusted[of] = trusted.get(of, True) and fine
        warned = sum(not fine for fine in trusted.values())
        bound = per_cent(upper_bound(warned, len(trusted)))
        yield (
            f"- Attack seed {seed}: {warned} of {len(trusted)} trained models are not trustworthy, "
            f"so at most {bound} % of such are (one-sided 95 % bound)."
        )


def _figures(record: Record) -> str:
    return (
        f"{record.n} images of {record.data['name']}, {record.threat['name']} radius "
        f"{record.threat['eps']}: {per_cent(record.clean)} % right, {per_cent(record.robust)} % "
        f"right after the white-box union; checkpoint {record.checkpoint[:8]}"
    )
