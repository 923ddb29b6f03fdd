"""What a defense learns from."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.samples import Samples
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Batch:
    """Images to learn from; `rows` are their positions in the split they are from."""

    x: Float[Tensor, "batch *image"]
    y: Int[Tensor, " batch"]
    rows: Int[Tensor, " batch"]
    threat: ThreatModel

    @property
    def samples(self) -> Samples:
        """The same without the threat."""
        return Samples(self.x, self.y, self.rows)
