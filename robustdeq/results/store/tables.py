"""The columns of the Parquet tables that stand beside a record."""

from types import MappingProxyType

import numpy as np
import pyarrow as pa

from robustdeq.errors import ContractViolation

# One row per (index, attack_seed): what the judge saw on every image of the column.
SAMPLES = pa.schema(
    [
        pa.field("index", pa.int32(), nullable=False),  # position in the data slice
        pa.field("attack_seed", pa.int32(), nullable=False),
        pa.field("label", pa.int16(), nullable=False),
        pa.field("clean_pred", pa.int16(), nullable=False),
        pa.field("adv_pred", pa.int16(), nullable=False),
        pa.field("robust", pa.bool_(), nullable=False),
        pa.field("distance", pa.float32()),
        pa.field("margin", pa.float32()),
        pa.field("nfe_clean", pa.int32()),
        pa.field("nfe_adv", pa.int32()),
        pa.field("residual_clean", pa.float32()),  # null for networks without an equilibrium
        pa.field("residual_adv", pa.float32()),
        pa.field("survival", pa.float32()),  # share of draws that are right, if answers are random
    ]
)

# The first adversarial inputs, flattened.
IMAGES = pa.schema(
    [
        pa.field("index", pa.int32(), nullable=False),
        pa.field("attack_seed", pa.int32(), nullable=False),
        pa.field("image", pa.list_(pa.float32()), nullable=False),
    ]
)

# Free rows: what was checked, on which image if on one, the value, and the verdict in words.
AUDIT = pa.schema(
    [
        pa.field("check", pa.string(), nullable=False),
        pa.field("index", pa.int32()),
        pa.field("value", pa.float64()),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

# A state map: one row per attacked view (or "clean") and judged state, over the column's images.
STATES = pa.schema(
    [
        pa.field("attacked", pa.string(), nullable=False),
        pa.field("attack_seed", pa.int32(), nullable=False),
        pa.field("judged", pa.int32()),  # step number of the state; null for the answer itself
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("entropy", pa.float64(), nullable=False),  # nats, mean over the images
        pa.field("residual", pa.float64(), nullable=False),  # relative, median over the images
        pa.field("n", pa.int32(), nullable=False),
    ]
)

SCHEMAS = MappingProxyType({"samples": SAMPLES, "images": IMAGES, "audit": AUDIT, "states": STATES})
_OPTIONAL = frozenset({"survival"})


def conform(name: str, table: pa.Table) -> pa.Table:
    """The table with exactly the columns, order and types of its schema.

    Optional columns that are absent stay absent.

    Raises:
        ContractViolation: no such table, or a column is missing, unknown, of another type, or has
            nulls where none may be.
    """
    if name not in SCHEMAS:
        raise ContractViolation(f"no record has a table {name!r}; known: {', '.join(SCHEMAS)}")
    fields = [f for f in SCHEMAS[name] if f.name in table.column_names or f.name not in _OPTIONAL]
    names = [field.name for field in fields]
    if sorted(table.column_names) != sorted(names):
        raise ContractViolation(
            f"table {name!r} has the columns {', '.join(table.column_names)}; "
            f"expected {', '.join(names)}"
        )
    try:
        conformed = table.select(names).cast(pa.schema(fields))
        conformed.validate(full=True)
    except (pa.ArrowInvalid, ValueError) as error:
        raise ContractViolation(f"table {name!r} does not fit its schema: {error}") from error
    return conformed


def to_numpy(table: pa.Table, name: str) -> np.ndarray:
    """A column without nulls as an array.

    pyarrow's own conversion imports pandas, which would take longer than a whole board.
    """
    column = table[name].combine_chunks()
    if column.type != pa.bool_():
        return np.from_dlpack(column)
    bits = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    values = np.unpackbits(bits, bitorder="little").astype(bool)
    return values[column.offset : column.offset + len(column)]
