"""A learned Lyapunov function, and the projection that makes a velocity decrease it."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, relu, softplus

from robustdeq.equilibrium import with_value
from robustdeq.errors import SpecError

Backward = Literal["exact", "identity", "smooth", "constant"]
_TINY = 1e-12  # below the squared norm of any gradient that a projection could matter for
_WIDE = 0.5  # the smoothing width of the backward pass "smooth"


def smoothed_relu(u: Tensor, width: float) -> Tensor:
    """0 up to 0, u^2 / (2 width) up to the width, u - width / 2 beyond: convex and C^1."""
    inside = u.clamp(0, width)
    return inside * (u - inside / 2) / width


def smoothed_step(u: Tensor, width: float) -> Tensor:
    """The derivative of `smoothed_relu`."""
    return (u / width).clamp(0, 1)


class Level(NamedTuple):
    """V(z) and its gradient by z."""

    value: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch dim"]


class LyapunovFunction(nn.Module):
    """V(z) = s_D(g(z) - g(0)) + floor |z|^2, positive definite and convex, with g input-convex.

        h_1 = s_d(W_0 z + b_0);  h_2 = s_d(U_1 h_1 + W_1 z + b_1);  g = U_2 h_2 + W_2 z

    with U_i = softplus(P_i) / rows elementwise positive (Amos, Xu, Kolter 2017; Kolter and Manek
    2019, "Learning stable deep dynamics models", equations 10 to 12). The gradient is written out,
    so that inference needs no autograd. g(0) is computed anew at every call: taken once, at
    construction, V(0) would not stay 0 through training.

    Args:
        dim: of z.
        hidden: width of both layers of g.
        floor: of V / |z|^2, epsilon in the paper.
        width: d, of the smoothed ReLU inside g; the outer one's D is 1, as in the paper's code.
    """

    def __init__(self, dim: int, hidden: int, floor: float, width: float):
        super().__init__()
        self.first, self.second = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.last = nn.Linear(dim, 1, bias=False)
        self.between = nn.Parameter(torch.randn(hidden, hidden))
        self.onto = nn.Parameter(torch.randn(1, hidden))
        self.floor, self.width = floor, width

    def forward(self, z: Float[Tensor, "batch dim"], width: float | None = None) -> Level:
        """V and grad V; `width` replaces that of the smoothed ReLU inside g."""
        width = width or self.width
        value, gradient = self._convex(z, width)
        origin, _ = self._convex(torch.zeros_like(z[:1]), width)
        rise = value - origin
        level = smoothed_relu(rise, 1.0) + self.floor * z.square().sum(1)
        slope = smoothed_step(rise, 1.0)[:, None] * gradient + 2 * self.floor * z
        return Level(level, slope)

    def _convex(self, z: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """g(z) (B,) and its gradient (B, dim)."""
        between = softplus(self.between) / len(self.between)
        onto = softplus(self.onto)
        a = self.first(z)
        b = linear(smoothed_relu(a, width), between) + self.second(z)
        g = linear(smoothed_relu(b, width), onto) + self.last(z)
        db = onto * smoothed_step(b, width)
        da = (db @ between) * smoothed_step(a, width)
        gradient = self.last.weight + db @ self.second.weight + da @ self.first.weight
        return g[:, 0], gradient


class LyapunovProjection(nn.Module):
    """The nearest velocity along which V falls at rate alpha: grad V . v <= -alpha V.

        v - grad V relu(grad V . v + alpha V) / |grad V|^2     (Kolter and Manek 2019, equation 8)

    Along the exact flow V(z(t)) <= exp(-alpha t) V(z(0)). A system whose field is projected
    everywhere has |v| >= alpha V / |grad V| > 0 for every z but 0, hence no other equilibrium.

    Attributes:
        backward: the derivative that autograd takes; the value is the exact one's whatever it is.
            "exact"; "identity", which forgets the projection; "smooth", with a softplus for the
            ReLU and wider bends in V; "constant", which holds grad V fixed. For attacks.

    Raises:
        SpecError: alpha is not above 0.
    """

    def __init__(self, function: LyapunovFunction, alpha: float):
        super().__init__()
        if not alpha > 0:
            raise SpecError(f"alpha {alpha}: a decay rate has to be above 0")
        self.function, self.alpha = function, alpha
        self.backward: Backward = "exact"

    def forward(
        self, z: Float[Tensor, "batch dim"], v: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The velocity v at z, projected."""
        exact = self._projected(v, self.function(z))
        if self.backward == "exact" or not torch.is_grad_enabled():
            return exact
        return with_value(exact, _BACKWARD[self.backward](self, z, v))

    def _projected(self, v: Tensor, level: Level) -> Tensor:
        return v - level.gradient * relu(self._excess(v, level))

    def _excess(self, v: Tensor, level: Level) -> Tensor:
        """By how much the half-space is missed, over |grad V|^2: (B, 1)."""
        along = (level.gradient * v).sum(1) + self.alpha * level.value
        return (along / level.gradient.square().sum(1).clamp_min(_TINY))[:, None]

    def _identity(self, z: Tensor, v: Tensor) -> Tensor:
        return v

    def _smooth(self, z: Tensor, v: Tensor) -> Tensor:
        level = self.function(z, _WIDE)
        return v - level.gradient * softplus(self._excess(v, level))

    def _constant(self, z: Tensor, v: Tensor) -> Tensor:
        level = self.function(z)
        return self._projected(v, Level(level.value, level.gradient.detach()))


_BACKWARD = {
    "identity": LyapunovProjection._identity,
    "smooth": LyapunovProjection._smooth,
    "constant": LyapunovProjection._constant,
}
