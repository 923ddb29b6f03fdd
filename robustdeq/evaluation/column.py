"""Columns: complete attacks on the images of a slice."""

from dataclasses import dataclass, field, replace
from typing import Literal, cast

import torch
from jaxtyping import Int
from torch import Tensor

from robustdeq.aims import Aim, aim
from robustdeq.attacks.base import Attack
from robustdeq.content import content
from robustdeq.data.checks import check_first
from robustdeq.entrant import Entrant
from robustdeq.errors import DataError, SpecError
from robustdeq.registry import Plugin
from robustdeq.results.store.protocol import places
from robustdeq.surrogates.base import Surrogate
from robustdeq.surrogates.defended import Defended


@dataclass(frozen=True)
class Stage:
    """One attack on one view of the defended model."""

    attack: Attack
    surrogate: Surrogate = field(default_factory=Defended)


@dataclass(frozen=True)
class Column:
    """A complete attack: its stages run in turn, each on the rows that all before it left robust.

    Attributes:
        seeds: attack seeds; a row is robust if it survives all of them.
        images: the first n images of the slice only; None attacks all. Fewer than the protocol has
            leaves the row unranked.
        order: which images are the first, those of the "file" or of one fixed permutation,
            "shuffled" (`robustdeq.results.store.protocol.places`). Files may be sorted by class.
        sources: the networks that `transfer` views of this column climb, none of them ranked.
        goal: what the attack aims at, a file of `robustdeq.goals`: "label" is to be misread.
        audits: of an audit, those that do not come with the package, each with its content.
        goal_content: of a goal that does not come with the package; it is filled in.
        deployment: "own", or which side of the trial is given four times the solver's budget at a
            hundredth of its tolerance: "judged-longer" or "crafted-longer".

    Only columns of a goal that ranks, on the model's own deployment, may rank.
    """

    name: str
    stages: tuple[Stage, ...]
    seeds: tuple[int, ...]
    images: int | None = None
    sources: tuple[Entrant, ...] = ()
    goal: str = "label"
    deployment: Literal["own", "judged-longer", "crafted-longer"] = "own"
    order: Literal["file", "shuffled"] = "file"
    audits: tuple[str, ...] = ()
    goal_content: str = ""

    def __post_init__(self):
        object.__setattr__(self, "goal_content", content(cast(Plugin, self.aim)))
        needed = max((stage.surrogate.needs_sources for stage in self.stages), default=0)
        if needed > len(self.sources):
            raise SpecError(
                f"column {self.name!r} climbs source {needed - 1} of {len(self.sources)}; list the "
                f"networks to transfer from in its `sources`"
            )
        if bool(self.stages) != self.aim.staged:
            wanted = "at least one" if self.aim.staged else "none"
            raise SpecError(
                f"column {self.name!r} has {len(self.stages)} stages; expected {wanted}, as its "
                f"goal is {self.goal!r}"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise SpecError(
                f"column {self.name!r} has seeds {self.seeds}; expected at least one from 0 on, no "
                f"seed twice"
            )
        if self.images is not None and self.images < 1:
            raise SpecError(f"column {self.name!r}: images {self.images}; expected at least 1")

    @property
    def aim(self) -> Aim:
        """The goal itself."""
        return aim(self.goal)

    def on_first(self, images: int | None) -> "Column":
        """This column on at most so many images; None leaves it as it is."""
        return self if images is None else replace(self, images=min(images, self.images or images))

    def positions(self, there: int) -> Int[Tensor, " n"]:
        """The places in a slice of so many images of those that are attacked, in their order."""
        return torch.tensor(places(self.order, self.images, there))

    def require_variety(self, labels: Int[Tensor, " n"]) -> None:
        """Refuse images of fewer classes than a random choice of the slice has.

        Raises:
            DataError: the first ones in the file are those of a few classes.
        """
        if self.images is None or self.order == "shuffled":
            return
        try:
            check_first(labels, self.images)
        except DataError as error:
            raise DataError(
                f'column {self.name!r}: {error}; add the line order = "shuffled" to the column'
            ) from None
