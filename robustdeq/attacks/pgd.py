"""Projected gradient ascent with a fixed step."""

from dataclasses import dataclass, field
from fractions import Fraction

from robustdeq.attacks.base import Attack
from robustdeq.attacks.budgets import require_counts
from robustdeq.attacks.search import Search
from robustdeq.errors import SpecError
from robustdeq.objectives.base import Objective
from robustdeq.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent on the negated objective.

        x_{k+1} = project(x_k + step * eps * steepest(grad L(x_k)))

    Madry et al. 2018 ("Towards deep learning models resistant to adversarial attacks"), section
    2.1. `step` is a fraction of the radius; the default is that of their CIFAR-10 experiments,
    2/255 of 8/255.

    Unlike the original it keeps the iterate of highest objective, not only the last, and stops work
    on rows whose loss the deployed predictor confirmed. Each restart costs `steps` gradients and
    one value per active row.

    Raises:
        SpecError: a count below 1, or a step that is not positive.
    """

    steps: int = 20
    restarts: int = 1
    step: Fraction = Fraction(1, 4)
    random_start: bool = True
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self):
        require_counts(self, "steps", "restarts")
        if self.step <= 0:
            raise SpecError(f"step = {self.step}; expected a positive fraction of the radius")

    def run(self, search: Search) -> None:
        sizes = [self.step] * self.steps
        for draw in range(self.restarts):
            start = search.start("pgd", draw=draw) if self.random_start else search.standing()
            search.value(search.ascend(start, self.objective, sizes), self.objective)
