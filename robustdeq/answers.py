"""What a row of logits answers: the one definition that attacks, objectives and the judge share.

A row is an answer if its largest logit is finite. Minus infinity is a class that a network rules
out, and is an answer's good right; NaN, plus infinity, or no class left at all is none. The label
of an answer is the first class of the largest logit, as `argmax` has it on ties.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def answered(logits: Float[Tensor, "*batch classes"]) -> Bool[Tensor, " *batch"]:
    """Which rows are answers."""
    return logits.amax(-1).isfinite()  # amax hands NaN on


def labels(logits: Float[Tensor, "*batch classes"]) -> Int[Tensor, " *batch"]:
    """The label of every row; -1 where there is no answer, which no image's label is."""
    return torch.where(answered(logits), logits.argmax(-1), -1)


def margin(
    logits: Float[Tensor, "batch classes"], y: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """z_y - max over j != y of z_j: positive where right, negative where wrong, 0 on either side.

    Whether a row of margin 0 is right, `labels` alone says.
    """
    return logits.gather(1, y[:, None])[:, 0] - rival_logit(logits, y)


def rival_logit(
    logits: Float[Tensor, "batch classes"],
    y: Int[Tensor, " batch"],
    target: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    """The logit that the true class must lose to: the target's, or else the highest other."""
    if target is not None:
        return logits.gather(1, target[:, None])[:, 0]
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def spread(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The distance between a row's largest and smallest logit that is finite."""
    ruled_out = logits == -torch.inf
    return logits.amax(1) - logits.masked_fill(ruled_out, torch.inf).amin(1)


def change(
    logits: Float[Tensor, "*batch classes"], other: Float[Tensor, "*batch classes"]
) -> Float[Tensor, "*batch classes"]:
    """By how much each logit differs; 0 between two that are equally infinite, or both NaN."""
    same = (logits == other) | (logits.isnan() & other.isnan())
    distance = (logits - other).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    return torch.where(same, 0.0, distance)


def bounded(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """The same logits, classes that are ruled out a little below the lowest that is not.

    Labels, and the gradients of all other logits, are those of the logits given.
    """
    ruled_out = logits == -torch.inf
    lowest = logits.detach().masked_fill(ruled_out, torch.inf).amin(1, keepdim=True)
    return torch.where(ruled_out, lowest - 1.0, logits)
