"""The contract of an attack objective."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.errors import ContractViolation, SpecError
from robustdeq.registry import Plugin, is_guest


@dataclass(frozen=True)
class View:
    """What one look at the model shows; an objective reads only what it declares in `needs`."""

    logits: Float[Tensor, "batch classes"]
    states: Float[Tensor, "steps batch dim"] | None = None
    residuals: Float[Tensor, "steps batch"] | None = None
    path_logits: Float[Tensor, "steps batch classes"] | None = None

    def copied(self) -> "View":
        """The same, in memory of its own."""
        more = (self.states, self.residuals, self.path_logits)
        return View(self.logits.clone(), *(None if part is None else part.clone() for part in more))

    def changed(self, other: "View") -> list[str]:
        """The names of the parts that are not those of another view."""
        pairs = [(name, part, vars(other)[name]) for name, part in vars(self).items()]
        return [n for n, a, b in pairs if a is not None and not _same(a, b)]

    def writes(self) -> dict[str, int]:
        """How often each part was written into, by name."""
        shown = {name: part for name, part in vars(self).items() if part is not None}
        return {n: 0 if part.is_inference() else part._version for n, part in shown.items()}


class Objective(Plugin, ABC):
    """A differentiable per-row score that grows towards the attacker's goal.

    `needs` names the parts of a `View` it reads: "logits" always comes, "states", "residuals" and
    "path_logits", what the network would answer at each state, only when declared. Row-separable,
    so that the gradient of the sum is every row's own gradient.
    """

    kind: ClassVar[str] = "objectives"
    needs: ClassVar[frozenset[str]] = frozenset({"logits"})

    def shown(self, part: Tensor | None, what: str) -> Tensor:
        """A part of a view that is there only when it was asked for; `what` says it in words.

        Raises:
            SpecError: the view does not show it.
        """
        if part is None:
            raise SpecError(
                f"objective {self.plugin_name()!r} reads {what}, which this surrogate does not "
                "show; use the surrogate 'solver-path'"
            )
        return part

    def score(self, view: View, y: Tensor, target: Tensor | None = None) -> Tensor:
        """What the objective says of a view, which whoever shows it goes on to report.

        Raises:
            ContractViolation: it is no score for each row, or it has written into the view, or, if
                it does not come with the package, into the labels.
        """
        guest = is_guest(type(self))
        shown, own = (view.copied(), y.clone()) if guest else (view, y)
        before = shown.writes()
        found = self(shown, own, target)
        if not isinstance(found, Tensor) or found.shape != (len(y),):
            shape = tuple(found.shape) if isinstance(found, Tensor) else "none"
            raise ContractViolation(
                f"objective {self.plugin_name()!r} returns a {type(found).__name__} of shape "
                f"{shape}; expected a tensor of shape ({len(y)},), a score for each image"
            )
        written = [name for name, count in shown.writes().items() if count != before[name]]
        if guest:  # who writes through numpy leaves no count
            written += [name for name in shown.changed(view) if name not in written]
            written += ["labels"] if not own.equal(y) else []
        if written:
            raise ContractViolation(
                f"objective {self.plugin_name()!r} wrote into the {' and '.join(written)} that it "
                f"was shown; work on a copy: `logits = logits - 1` instead of `logits -= 1`"
            )
        return found

    @abstractmethod
    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        """(B,) scores; `target` is (B,) classes to move to, or (B, C) reference logits."""


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
