"""What became of every image under one attack seed, as the tables of a record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa
from jaxtyping import Bool, Float, Int
from torch import Tensor, full_like

from robustdeq.answers import margin
from robustdeq.evaluation.judge import Verdict
from robustdeq.results.store.tables import AUDIT
from robustdeq.threats.base import ThreatModel

KEPT_IMAGES = 32


@dataclass(frozen=True)
class Fate:
    """Images x of labels y, what an attack made of them, and how both were judged.

    Attributes:
        robust: which rows withstood everything.
        survival: the share of fresh draws that are right; None where answers are not random.
        flipped: which rows have another label in float64.
    """

    seed: int
    rows: Int[Tensor, " n"]
    x: Float[Tensor, "n *image"]
    y: Int[Tensor, " n"]
    clean: Verdict
    x_adv: Float[Tensor, "n *image"]
    adversarial: Verdict
    robust: Bool[Tensor, " n"]
    survival: Float[Tensor, " n"] | None
    threat: ThreatModel
    flipped: Bool[Tensor, " n"]


def samples(fate: Fate) -> pa.Table:
    """A row for each image: see `robustdeq.results.store.tables.SAMPLES`."""
    clean, verdict = fate.clean.prediction, fate.adversarial.prediction
    columns = {
        "index": fate.rows,
        "attack_seed": full_like(fate.rows, fate.seed),
        "label": fate.y,
        "clean_pred": fate.clean.settled(fate.y),
        "adv_pred": verdict.labels,
        "robust": fate.robust,
        "distance": fate.threat.distance(fate.x, fate.x_adv),
        "margin": margin(verdict.logits, fate.y),
        "nfe_clean": clean.nfe,
        "nfe_adv": verdict.nfe,
        "residual_clean": clean.residual,
        "residual_adv": verdict.residual,
    }
    if fate.survival is not None:
        columns["survival"] = fate.survival
    return pa.table({name: values.cpu().numpy() for name, values in columns.items()})


def images(fate: Fate) -> pa.Table:
    """The first adversarial inputs."""
    kept = fate.x_adv[:KEPT_IMAGES].flatten(1).cpu()
    return pa.table(
        {
            "index": fate.rows[:KEPT_IMAGES].tolist(),
            "attack_seed": [fate.seed] * len(kept),
            "image": kept.tolist(),
        }
    )


def flips_in_float64(fate: Fate) -> pa.Table:
    """The rows whose label is another in float64, with their margins."""
    flipped = fate.flipped.nonzero()[:, 0]
    margins = margin(fate.adversarial.prediction.logits, fate.y)[flipped]
    detail = f"label differs in float64 at 1e-8, attack seed {fate.seed}; value is the margin"
    return pa.table(
        {
            "check": ["float64"] * len(flipped),
            "index": fate.rows[flipped].tolist(),
            "value": margins.tolist(),
            "detail": [detail] * len(flipped),
        },
        schema=AUDIT,
    )


TABLES: Mapping[str, Callable[[Fate], pa.Table]] = MappingProxyType(
    {"samples": samples, "images": images, "audit": flips_in_float64}
)
