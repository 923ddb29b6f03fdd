"""The union: every view of a target that applies, attacked in turn, worst case per image."""

from torch import Tensor

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.evaluation.crafting import Crafted, Crafter
from robustdeq.evaluation.judge import Judge
from robustdeq.evaluation.protocol import Column, Stage
from robustdeq.objectives.margin import Margin
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.differences import Differences
from robustdeq.surrogates.intermediate import Intermediate
from robustdeq.surrogates.simultaneous import Simultaneous
from robustdeq.surrogates.state_average import StateAverage
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.surrogates.truncated import Truncated
from robustdeq.surrogates.undefended import Undefended
from robustdeq.threats.base import ThreatModel


def white_box(target: DefendedModel, randomised: bool = False) -> tuple[Stage, ...]:
    """Gradient attacks on every view of the target that applies, the strongest first.

    Nothing here is transferred, not even from the same weights without their defence; the margin
    needs no number of classes and saturates nowhere.

    Args:
        randomised: the target's answers depend on its noise.
    """
    views = (ThroughSolverView(), Truncated(), Truncated(Unrolled(5)), Simultaneous())
    states = (StateAverage(4), *(Intermediate(state) for state in (1, 2, 4, 8)))
    derived = [
        v for v in derived_views(target.defense, randomised) if not isinstance(v, Undefended)
    ]
    stages = (
        Stage(APGD(steps=50)),
        Stage(APGD(steps=30, objective=Margin())),
        Stage(APGD(steps=30, targets=3, objective=Margin())),
        *(Stage(APGD(steps=20, objective=Margin()), view) for view in (*derived, *views, *states)),
    )
    return tuple(stage for stage in stages if stage.surrogate.applies(target) is None)


def black_box() -> tuple[Stage, ...]:
    """Attacks that read answers alone: a search, and gradients made of differences."""
    return (
        Stage(Square(queries=2000), Defended()),
        Stage(PGD(steps=20, objective=Margin()), Differences()),
    )


def strongest(
    stages: tuple[Stage, ...],
    target: DefendedModel,
    judge: Judge,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    seed: int = 0,
    batch_size: int = 128,
) -> Crafted:
    """The most damaging candidate of each image (n, *image) over the stages, and who still stands.

    An image that the judge already gets wrong does not stand and is not attacked.
    """
    rows = y.new_tensor(range(len(y)))
    craft = Crafter(target, judge, threat, batch_size, lambda done, total: None)
    return craft(Column("union", stages, (seed,)), seed, x, y, judge(x, y, rows).right)
