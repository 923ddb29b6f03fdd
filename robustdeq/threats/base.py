"""The contract of a threat model."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.registry import Plugin

_DENOMINATOR = 10**4  # of the simple fractions that a float may stand for


def radius(value: str | int | float | Fraction) -> Fraction:
    """The exact radius that a caller means.

    A float stands for the one simple fraction that it is the nearest float of, as 8 / 255 does.

    Raises:
        SpecError: it is no number, or a float of no simple fraction.
    """
    wanted = 'expected a fraction, like "8/255"'
    if isinstance(value, bool):
        raise SpecError(f"radius {value} is a bool; {wanted}")
    try:
        exact = Fraction(value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise SpecError(f"radius {value!r} is not a number; {wanted}") from None
    if not isinstance(value, float):
        return exact
    simple = exact.limit_denominator(_DENOMINATOR)
    if float(simple) != value:
        raise SpecError(f"radius {value!r} is the float of no simple fraction; {wanted}")
    return simple


@dataclass(frozen=True)
class ThreatModel(Plugin, ABC):
    """All x' in [0, 1] with norm(x' - x) <= eps, per image.

    The radius is an exact fraction in specs and records ("8/255") and a float only inside a
    computation.
    """

    kind: ClassVar[str] = "threats"
    eps: Fraction

    def __post_init__(self):
        if not isinstance(self.eps, Fraction):
            raise SpecError(f'radius {self.eps!r} is not a fraction; write it as "8/255"')
        if self.eps <= 0:
            raise SpecError(f"radius {self.eps} is not positive; attacks need eps > 0")

    def diameter(self, shape: tuple[int, ...]) -> float:
        """The largest distance of two images of a shape; unbounded where a norm does not say."""
        return math.inf

    def require_fit(self, shape: tuple[int, ...]) -> None:
        """Refuse a radius within which every image of a shape is every other one.

        Raises:
            SpecError: the radius is not below the diameter of [0, 1].
        """
        if float(self.eps) >= (most := self.diameter(shape)):
            levels = f'write "{self.eps}/255" for {self.eps} of 255 levels'
            raise SpecError(
                f"{self.plugin_name()} radius {self.eps} reaches every image: pixels are in [0, 1] "
                f"and no two images of shape {shape} are further apart than {most:.3g}; "
                f"{levels if self.eps.denominator == 1 else 'give a smaller radius'}"
            )

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The unit-norm ascent direction of each row: sign(g) for Linf, g / |g| for L2."""

    @abstractmethod
    def distance(self, x: Tensor, x_adv: Tensor) -> Float[Tensor, " batch"]:
        """The norm of each row's perturbation."""

    @abstractmethod
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """A point of the threat set around x near x_adv (the nearest one for Linf)."""

    @abstractmethod
    def random_start(
        self, x: Tensor, rows: Int[Tensor, " batch"], noise: NoiseStream, draw: int = 0
    ) -> Tensor:
        """A random point of the threat set around x, keyed by row."""

    def excess(self, x: Tensor, x_adv: Tensor) -> Float[Tensor, " batch"]:
        """By how much each row leaves the ball or [0, 1]; at most 0 inside."""
        box = (x_adv - 1.0).maximum(-x_adv).flatten(1).amax(1)
        return box.maximum(self.distance(x, x_adv) - float(self.eps))

    def contains(self, x: Tensor, x_adv: Tensor, slack: float = 1e-6) -> Bool[Tensor, " batch"]:
        """Whether each row lies in the threat set, up to float32 rounding; NaN lies nowhere."""
        return self.excess(x, x_adv) <= slack
