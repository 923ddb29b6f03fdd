"""Cross entropy, the default objective of gradient attacks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.objectives.base import Objective, View


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The negative log-likelihood of the true class, or the log-likelihood of a target class.

        untargeted  -log softmax(z)_y        targeted  log softmax(z)_t

    Madry et al. 2018 ("Towards deep learning models resistant to adversarial attacks"), eq. 2.1.
    It saturates where the true class dominates (the gradient is (softmax(z) - e_y) dz/dx, hence 0
    in float32 for margins beyond about 90); the margin and DLR objectives do not.

    Shapes: logits (B, C), y (B,), target (B,) or None -> (B,).
    """

    def __call__(
        self, view: View, y: Int[Tensor, " batch"], target: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        log_likelihood = torch.log_softmax(view.logits, dim=1)
        if target is not None:
            return log_likelihood.gather(1, target[:, None])[:, 0]
        return -log_likelihood.gather(1, y[:, None])[:, 0]
