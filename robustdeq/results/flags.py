"""The closed list of reasons to distrust a row.

A flag is raised when a record is made or when a board is computed, and shown wherever the figure
is. A blocking flag turns the figure into an upper bound: the row prints "at most" and has no rank.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from robustdeq.errors import UnknownName

CONVERGED = 0.97  # share of rows that a model has to solve to its own tolerance
# With one of these an image has no one answer: it varies with the batch, the history or the draw.
INCONSTANT = frozenset({"nondeterministic", "stateful", "row-coupled", "randomised"})


@dataclass(frozen=True)
class Flag:
    """One named reason: when it is raised, why it matters, what to do about it."""

    name: str
    blocking: bool
    raised: str
    matters: str
    remedy: str

    def __str__(self) -> str:
        weight = "blocking" if self.blocking else "note"
        return f"`{self.name}` ({weight}): {self.raised} {self.matters} {self.remedy}"


FLAGS = (
    Flag(
        "nondeterministic",
        True,
        "Two judgements of the same inputs gave different labels.",
        "An attack then fails by luck and the figure cannot be reproduced.",
        "Draw all noise from the stream that `infer` is given.",
    ),
    Flag(
        "stateful",
        True,
        "A prediction depended on the predictions made before it.",
        "It is another model for every history; its figure is that of copies nobody has asked yet.",
        "Keep nothing between calls, warm starts included.",
    ),
    Flag(
        "row-coupled",
        True,
        "An image's label depended on the images in its batch.",
        "The figure then belongs to a batch size, not to a model.",
        "Stop every row by its own residual, or deploy a Picard solver.",
    ),
    Flag(
        "zero-gradient",
        True,
        "The attacked loss had a zero gradient on too many rows.",
        "Gradient attacks then end where they started.",
        "Add a column whose surrogate replaces the flat part.",
    ),
    Flag(
        "missing-gradient",
        True,
        "No gradient reached the input.",
        "White-box columns were then random search.",
        "Remove the detach, or give the defense a `relaxed` path.",
    ),
    Flag(
        "gradient-misaligned",
        True,
        "The gradient is over 25 degrees off the judged logits' differences on over 5 % of rows.",
        "The attack then climbed another function than the one that is judged.",
        "Use the through-solver surrogate, or an adjoint that converges.",
    ),
    Flag(
        "view-mismatch",
        True,
        "The surrogate's label differed from the judge's on more than 0.5 % of the final inputs.",
        "The attack then saw another model than the one that is judged.",
        "Use the exact mode of the surrogate.",
    ),
    Flag(
        "non-finite",
        True,
        "An image's largest logit, or a gradient, was NaN or infinite.",
        "Attack steps on them are arbitrary.",
        "Train again, or bound the logits.",
    ),
    Flag(
        "not-trained",
        True,
        "Clean accuracy is not shown to exceed the share of the largest class by 2 points.",
        "What answers one class to everything cannot be attacked, and its figure is that share.",
        "Train again with another recipe, and read the training log.",
    ),
    Flag(
        "logit-scale",
        True,
        "On more than 1 % of rows the logits' spread leaves 1e-3 to 1e3, or the loss is flat.",
        "Rounding then hides the gradient.",
        "Attack with a scale-free loss such as DLR, and rescale the read-out.",
    ),
    Flag(
        "binarisation-failed",
        True,
        "The attack found fewer than 95 % of the adversarial inputs that were planted for it.",
        "What it misses when planted it misses in earnest.",
        "Strengthen or adapt the attack until it passes.",
    ),
    Flag(
        "randomised",
        False,
        "Predictions draw random numbers by design.",
        "The figure is the share of 100 fresh draws that are right, on inputs chosen by 20 others.",
        "Read it with the column that attacks the expectation over draws.",
    ),
    Flag(
        "unconverged",
        False,
        "Fewer rows converged than the model declares.",
        "What was judged is a truncated iteration, not an equilibrium.",
        "Raise the budget, or declare the fixed budget as the model.",
    ),
    Flag(
        "budget-dependent",
        False,
        "Inputs crafted at one solver budget lost more than 2 points at another, or over 5 % of "
        "images change their label with the budget on an attack's way.",
        "The robustness may be that of the budget.",
        "Read the accuracies at both budgets.",
    ),
    Flag(
        "several-equilibria",
        False,
        "More than 5 % of attacked rows end in another equilibrium when their solve starts warm.",
        "A gradient taken there climbs a branch that the deployed, cold solve never finds.",
        "Read the through-solver column, and penalise the Jacobian more.",
    ),
    Flag(
        "input-rewritten",
        False,
        "The defense changes its input before the network sees it.",
        "A gradient through the network alone misses that step.",
        "Attack through the rewriting and around it.",
    ),
    Flag(
        "undirected",
        False,
        "A gradient was NaN or infinite on a few images, which it then did not move.",
        "Attacks that follow gradients were weaker on these images.",
        "Let no square root or norm reach zero; searches without gradients say what is lost.",
    ),
    Flag(
        "unchecked",
        False,
        "A check could not be made, for the reason that stands beside it.",
        "Nothing was found, and nothing ruled out.",
        "Let the network answer float64 images as well: register its tensors as buffers.",
    ),
    Flag(
        "success-mostly-unconverged",
        False,
        "Most successful adversarial inputs did not converge.",
        "The attack may have broken the solver rather than the classifier.",
        "Read the figure at a larger budget as well.",
    ),
    Flag(
        "checkpoint-changed",
        False,
        "The same entrant was recorded with different weights.",
        "Worst cases are never formed across weights, so only the newest ones are shown.",
        "Retract the records of the older checkpoint.",
    ),
    Flag(
        "black-box-beats-white-box",
        True,
        "A black-box attack adds a point or more to the white-box union beyond what a rerun adds.",
        "The gradients then hide something.",
        "Adapt the white-box attack to the defense.",
    ),
    Flag(
        "transfer-beats-white-box",
        True,
        "Transferred inputs alone break a point more of the images than any other column alone.",
        "The gradients then hide something.",
        "Adapt the white-box attack to the defense.",
    ),
    Flag(
        "noise-beats-attack",
        True,
        "Random noise adds a point or more to the white-box union beyond what a rerun adds.",
        "The attack did not work.",
        "Check its step size, loss and gradient.",
    ),
    Flag(
        "eps-sweep-not-zero",
        True,
        "Accuracy stays above chance at a radius where every image reaches mid-grey.",
        "The attack did not work.",
        "Check its step size, loss and gradient.",
    ),
    Flag(
        "memorized",
        True,
        "Attacked images are right in their place, and not when a pixel is flipped or all shift.",
        "The answers may be looked up: whoever has the test images recognizes them.",
        "Read the code of the entrant, and ask it about images that nobody has seen.",
    ),
    Flag(
        "fast-exceeds-exact",
        False,
        "A column in fast mode left over a point more than in exact mode: on the board, or beyond "
        "what a second fast run breaks of those it left standing.",
        "Its short cuts lose successes, which the exact run adds to the figure.",
        "Run such columns in exact mode where their own figure matters.",
    ),
    Flag(
        "more-steps-help",
        False,
        "Twice the steps and restarts lowered the figure by over 2 points, and a rerun by less.",
        "The attack had not finished.",
        "Read the lower figure.",
    ),
    Flag(
        "eps-not-monotone",
        False,
        "Accuracy rose with the radius by more than a point.",
        "The larger radius contains the smaller one, so one of the attacks was weak.",
        "Repeat the sweep with more restarts.",
    ),
)


def find_flag(name: str) -> Flag:
    """The flag of a name.

    Raises:
        UnknownName: it is not on the list.
    """
    for flag in FLAGS:
        if flag.name == name:
            return flag
    raise UnknownName("flag", name, (flag.name for flag in FLAGS))


def in_order(names: Iterable[str]) -> list[str]:
    """Flag names once each, in the order of the list: blocking ones need not be searched for."""
    wanted = set(names)
    return [flag.name for flag in FLAGS if flag.name in wanted]
