"""The union: every view of a target that applies, attacked in turn, worst case per image."""

from fractions import Fraction

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.apgd import APGD
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.rays import RayS
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.evaluation.attack import attack
from robustdeq.evaluation.checks import gradient_findings
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.crafting import Crafted
from robustdeq.evaluation.judge import Judge
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.surrogates.after_transfer import AfterTransfer
from robustdeq.surrogates.after_transient import AfterTransient
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

    Nothing here is transferred, not even from the same weights without their defense; the margin
    needs no number of classes and saturates nowhere.

    Args:
        randomised: the target's answers depend on its noise.
    """
    views = (ThroughSolverView(), Truncated(), Truncated(Unrolled(5)), Simultaneous())
    states = (StateAverage(4), *(Intermediate(state) for state in (1, 2, 4, 8)))
    transferred = (Undefended, AfterTransfer)
    views_of_inference = derived_views(target.defense, randomised)
    derived = [view for view in views_of_inference if not isinstance(view, transferred)]
    stages = (
        Stage(APGD(steps=50)),
        Stage(APGD(steps=30, objective=Margin())),
        Stage(APGD(steps=30, targets=3, objective=Margin())),
        *(Stage(APGD(steps=20, objective=Margin()), view) for view in (*derived, *views, *states)),
    )
    return tuple(stage for stage in stages if stage.surrogate.applies(target) is None)


def every_target(target: DefendedModel) -> tuple[Stage, ...]:
    """Nine wrong classes in turn, each through the deployed solver's own steps.

    The column `apgd-t` of `digits-linf-v2`, with the margin, which needs no number of classes; then
    once more, from inputs at which a solve is wrong on its way.
    """
    attack = APGD(steps=30, targets=9, objective=Margin())
    views = (ThroughSolverView(), AfterTransient(steps=10, path=20))
    stages = tuple(Stage(attack, view) for view in views)
    return tuple(stage for stage in stages if stage.surrogate.applies(target) is None)


def black_box() -> tuple[Stage, ...]:
    """Attacks that read answers alone: a search, gradients made of differences, labels only.

    Differences are taken twice, finely and over a sixteenth of the pixel range, which is seen
    through an input that is rounded.
    """
    steps = (Fraction(1, 128), Fraction(1, 16))
    return (
        Stage(Square(queries=2000)),
        *(Stage(PGD(steps=20, objective=Margin()), Differences(step=step)) for step in steps),
        Stage(RayS(queries=2000, restarts=2)),
    )


def runnable(
    stages: tuple[Stage, ...], target: DefendedModel, samples: Samples, salt: str = ""
) -> tuple[Stage, ...]:
    """Those stages whose gradient attacks find a gradient at the input, asked on one image."""
    noise, one = NoiseStream(0, salt).child("preflight"), samples.first(1)
    return tuple(stage for stage in stages if _reaches(stage, target, noise, one))


def _reaches(stage: Stage, target: DefendedModel, noise: NoiseStream, samples: Samples) -> bool:
    if not stage.attack.needs_gradient or not len(samples):
        return True
    surface = stage.surrogate.bind(target, noise).surface
    found = gradient_findings(surface, samples)
    return all(finding.name != "missing-gradient" for finding in found)


def strongest(
    stages: tuple[Stage, ...],
    target: DefendedModel,
    judge: Judge,
    samples: Samples,
    threat: ThreatModel,
    seed: int = 0,
    batch_size: int = 512,
) -> Crafted:
    """The most damaging candidate of each image (n, *image) over the stages, and who still stands.

    An image that the judge already gets wrong (of a randomised defense: in every draw) does not
    stand and is not attacked; a stage without a gradient to follow is left out. Batches are large
    because the last rows to stand are few, and every step of a solve costs something however few
    they are.
    """
    stages = runnable(stages, target, samples, judge.salt)
    return attack(target, judge, samples, threat, stages, seed, batch_size=batch_size).crafted
