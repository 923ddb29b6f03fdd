"""Columns that the harness derives from what a defense does at inference.

A defense that acts at inference is to be attacked through that, and around it, whatever its author
thinks of; so the views follow from what its chain does at inference, and cannot be left out.
"""

from fractions import Fraction

from robustdeq.defenses.base import Defense, Wrapper
from robustdeq.evaluation.column import Column
from robustdeq.results.store.protocol import derived_column
from robustdeq.spec import decode, encode
from robustdeq.surrogates.after_transfer import AfterTransfer
from robustdeq.surrogates.base import Surrogate
from robustdeq.surrogates.expectation import Expectation
from robustdeq.surrogates.straight_through import StraightThrough
from robustdeq.surrogates.through_defence import ThroughDefence
from robustdeq.surrogates.undefended import Undefended

_TAUS = (Fraction(1, 100), Fraction(1))  # in the unit of the inner gradient: near its zero, and all


def derived_views(defense: Defense, randomised: bool) -> tuple[Surrogate, ...]:
    """The views that a chain has to be attacked through, beside those that every model is.

    Acts at inference: straight through it, through its inner updates at two slopes of their
    sign, the same weights without it, and straight through it from inputs made without it. Answers
    that depend on the noise: the expectation over it. And whatever any defense of the chain names
    in `adaptive`.
    """
    views: list[Surrogate] = []
    if defense.at_inference.acts:
        views += [StraightThrough(), *(ThroughDefence(tau=tau) for tau in _TAUS)]
        views += [Undefended(), AfterTransfer()]
    if randomised:
        views.append(Expectation())
    return (*views, *_named(defense))


def _named(defense: Defense) -> tuple[Surrogate, ...]:
    """The views that the defenses of a chain name themselves, outermost first."""
    own = tuple(decode(Surrogate, view) for view in defense.adaptive)
    return (*own, *_named(defense.base)) if isinstance(defense, Wrapper) else own


def derived_columns(
    template: Column | None, defense: Defense, randomised: bool
) -> tuple[Column, ...]:
    """The template's stages on every derived view; none without a template."""
    if template is None:
        return ()
    views = derived_views(defense, randomised)
    return tuple(decode(Column, derived_column(encode(template), encode(v))) for v in views)
