"""Columns that a model shows nothing to attack of."""

from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.column import Column
from robustdeq.noise import NoiseStream
from robustdeq.surrogates.base import needs_equilibrium


def refusal(target: DefendedModel, column: Column) -> str | None:
    """Why this column cannot be run on this target, if it cannot."""
    of_solver = column.deployment != "own" or column.aim.of_solver
    if of_solver and (reason := needs_equilibrium(target)) is not None:
        return reason
    for stage in column.stages:
        if (reason := stage.surrogate.applies(target)) is not None:
            return reason
        # A view of sources is a view of some network all the same.
        approach = stage.surrogate.bind(target, NoiseStream(0), (target,) * len(column.sources))
        if stage.attack.needs_logits_form and not approach.surface.logits_form:
            return (
                f"{stage.attack.plugin_name()} needs a plain function from images to logits, which "
                f"this view of {target.defense.chain} is not"
            )
    return None
