"""The Linf ball."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.noise import NoiseStream
from robustdeq.threats.base import ThreatModel


@dataclass(frozen=True)
class Linf(ThreatModel):
    """All x' in [0, 1] with max_i |x'_i - x_i| <= eps (Goodfellow, Shlens, Szegedy 2015).

    Ball and box are both products of intervals, so clipping to one after the other is the exact
    projection onto their intersection.
    """

    def diameter(self, shape: tuple[int, ...]) -> float:
        return 1.0

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, x: Tensor, x_adv: Tensor) -> Float[Tensor, " batch"]:
        return (x_adv - x).abs().flatten(1).amax(1)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        eps = float(self.eps)
        return x_adv.clamp(x - eps, x + eps).clamp(0.0, 1.0)

    def random_start(
        self, x: Tensor, rows: Int[Tensor, " batch"], noise: NoiseStream, draw: int = 0
    ) -> Tensor:
        offset = 2.0 * noise.uniform(rows, draw, tuple(x.shape[1:])).to(x) - 1.0
        return self.project(x + float(self.eps) * offset, x)
