"""Is the gradient that attacks follow the one of the logits that are judged?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robustdeq.audits.ascent import ascent
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, exceeds, settled
from robustdeq.audits.differences import Judged
from robustdeq.audits.outsiders import cut, first
from robustdeq.errors import MissingGradient
from robustdeq.objectives.margin import Margin
from robustdeq.surrogates.defended import Defended

_FLAG = "gradient-misaligned"
_ALIGNED = 0.9  # cosine
_FAILURES = 2  # of three points
_LIMIT = 0.05  # share of rows
_GROUP = 12  # images asked together; about what an honest network's test needs


@dataclass(frozen=True)
class Gradient(Audit):
    """The gradient of the default surface against differences of the judged logits.

    Read as an attack reads it, in float32 and along the way: at the clean image, after PGD's first
    step and in its middle. Differenced in float64, by (g(x + h v) - g(x - h v)) / 2h along random
    sign directions v, with g the gap between the runner-up class and the true one: scale-free, as
    only angles are compared. Directional derivatives are compared and not coordinates, since their
    number does not grow with the image (Carlini et al. 2019, "On evaluating adversarial
    robustness"; Baydin et al. 2022, "Gradients without backpropagation").

    The differences are taken with the solver's step count frozen and free, each at h = 1e-6 and at
    eps / 50. Three cosines over the directions have to reach 0.9: the gradient against frozen,
    against free, and frozen against free; each at the better of the two h. A network may honestly
    have no derivative at one of them: at 1e-6 where a defense computes in float32, or a row's step
    count changes in between and the solver's tolerance is divided by 2e-6; at eps / 50 where a
    branch ends nearby. What fails at both is no rounding. The direction is wrong enough to matter
    at 0.9: steps of that cosine still climb, and gradients that hide something fall far below.

    The value is the share of images that fail at two of the three points at least. One wrong
    gradient is repaired by the next step, and honest networks have some: where a cell hardly
    contracts, the equilibrium that the implicit gradient belongs to lies well beyond the state that
    the solver's tolerance accepts. Such rows fail at one point; what is masked fails everywhere.
    The detail has the share of each point. Raised above 5 %, where chance is ruled out; no more
    images are asked once the test is `settled`. If no gradient reaches the input, all fail.
    """

    version: ClassVar[int] = 2
    images: int = 32
    directions: int = 8
    middle: int = 10

    def examine(self, case: Case) -> list[Measure]:
        case = first(case, self.images)
        try:
            cosines = self._until_settled(case)
        except MissingGradient as error:
            return [Measure(_FLAG, 1.0, _LIMIT, True, str(error))]
        wrong = _wrong(cosines)
        n, failed = wrong.shape[1], _failed(wrong)
        p = exceeds(failed, n, _LIMIT)
        each = ", ".join(str(count) for count in wrong.sum(1).tolist())
        median = ", ".join(f"{value:.3f}" for value in cosines.median(1).values)
        detail = (
            f"{failed} of {n} images; {each} at the clean image, step 1 and step {self.middle}, "
            f"median cosines {median}"
        )
        raised = failed > _LIMIT * n and p <= CHANCE
        return [Measure(_FLAG, failed / n, _LIMIT, raised, detail, p)]

    def _until_settled(self, case: Case) -> Float[Tensor, "points n"]:
        """The cosines of the first images: of so many as the test needs."""
        found: list[Tensor] = []
        for index in torch.arange(len(case.y), device=case.y.device).split(_GROUP):
            found.append(self._cosines(cut(case, index)))
            so_far = _wrong(torch.cat(found, dim=1))
            if settled(_failed(so_far), so_far.shape[1], len(case.y), 1 - _LIMIT):
                break
        return torch.cat(found, dim=1)

    def _cosines(self, case: Case) -> Float[Tensor, "points n"]:
        """The lowest of the three cosines of every image at every point."""
        steps = (1e-6, float(case.threat.eps) / 50)
        surface = Defended().bind(case.target, case.noise).surface
        logits = surface.view(case.x, case.rows, frozenset({"logits"})).logits
        rival = logits.scatter(1, case.y[:, None], -torch.inf).argmax(1)
        walk = ascent(case, surface, case.x, Margin(), self.middle, max(steps), rival)
        judged = Judged.of(case, case.noise, rival)
        lowest = []
        for number, (x, gradient) in enumerate(walk):
            if number not in (0, 1, self.middle):
                continue
            v = self._signs(case, number).to(x.device)
            analytic = (v * gradient.double()).flatten(2).sum(2).T
            found = torch.stack([judged.slopes(x.double(), v, h) for h in steps])
            lowest.append(_lowest(analytic, found))
        return torch.stack(lowest)

    def _signs(self, case: Case, point: int) -> Float[Tensor, "directions n *image"]:
        noise, shape = case.noise.child("directions", point), tuple(case.x.shape[1:])
        draws = [noise.signs(case.rows, draw, shape) for draw in range(self.directions)]
        return torch.stack(draws).double()


def _wrong(cosines: Float[Tensor, "points n"]) -> Bool[Tensor, "points n"]:
    return ~(cosines >= _ALIGNED)


def _failed(wrong: Bool[Tensor, "points n"]) -> int:
    """How many images fail at too many of the points."""
    return int((wrong.sum(0) >= _FAILURES).sum())


def _lowest(
    analytic: Float[Tensor, "n directions"], found: Float[Tensor, "h kinds n directions"]
) -> Float[Tensor, " n"]:
    """The lowest cosine of a row over all pairs of slopes, each pair at its better h."""
    cosines = [_cosine(analytic.expand_as(found[:, 0]), kind) for kind in found.unbind(1)]
    if found.shape[1] == 2:
        cosines.append(_cosine(found[:, 0], found[:, 1]))
    return torch.stack(cosines).amax(1).amin(0)


def _cosine(
    a: Float[Tensor, "... directions"], b: Float[Tensor, "... directions"]
) -> Float[Tensor, "..."]:
    """Of two vectors; 1 where both vanish, 0 where one does or is not finite."""
    a_norm, b_norm = (torch.linalg.vector_norm(each, dim=-1) for each in (a, b))
    cosine = (a * b).sum(-1) / (a_norm * b_norm)
    cosine = torch.where((a_norm == 0) & (b_norm == 0), 1.0, cosine)
    return torch.nan_to_num(cosine, nan=0.0, posinf=0.0, neginf=0.0)
