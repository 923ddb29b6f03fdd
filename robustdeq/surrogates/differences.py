"""Gradients from answers alone."""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import Objective, View
from robustdeq.samples import Samples
from robustdeq.surface import Reading
from robustdeq.surfaces.network import NetworkSurface, Rows
from robustdeq.surrogates.base import Predictor, Sources, Surrogate, confirmed, positions

_CHUNK = 1024  # images answered at a time


@dataclass(frozen=True)
class Differences(Surrogate):
    """Central differences of the deployed predictor's own answers.

        g = 1/n sum_i d_i (L(x + step d_i) - L(x - step d_i)) / (2 step)

    over random signs d_i (simultaneous perturbation; Spall 1992, Uesato et al. 2018, "Adversarial
    risk and the dangers of evaluating weak attacks"), or over the pixels one by one where there are
    no more than `directions` of them, which is the exact gradient up to step^2. Nothing that a
    defense does to a gradient reaches this one.

    Attributes:
        directions: n; a visit costs 2 n + 1 answers.
        step: in pixel values; large enough to be seen through rounded inputs. Images are not
            clipped: a network has to answer beyond [0, 1] by this much.
    """

    directions: int = 64
    step: Fraction = Fraction(1, 32)

    def __post_init__(self):
        if self.directions < 1 or self.step <= 0:
            raise SpecError(
                f"directions {self.directions}, step {self.step}; expected at least 1, and above 0"
            )

    def applies(self, target: DefendedModel) -> str | None:
        return None

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        return self.of_answers(target, noise)

    def of_answers(self, target: Predictor, noise: NoiseStream) -> Approach:
        """The view of whatever answers; nothing else is read of it."""
        return confirmed(_Differenced(self, target, noise), target, noise)


class _Differenced(NetworkSurface):
    """The deployed predictor on draws that are fixed for the attack."""

    logits_form = False

    def __init__(self, view: Differences, target: Predictor, noise: NoiseStream):
        super().__init__()
        self._target, self._differences = target, view
        self._draws, self._signs = noise.child("relaxed"), noise.child("directions")
        self._visits = 0

    def _gradient(self, samples: Samples, objective: Objective, target: Tensor | None) -> Reading:
        reading = self._value(samples, objective, target)
        x, rows = samples.images, samples.positions
        step, directions = float(self._differences.step), self._directions(x, rows)
        count = directions.shape[1]
        offsets = torch.cat([directions, -directions], dim=1) * step  # (B, 2n, pixels)
        near = (x.flatten(1)[:, None] + offsets).reshape(-1, *x.shape[1:])
        who = torch.arange(len(x), device=x.device).repeat_interleave(2 * count)
        logits = self._answers(near, rows[who])
        towards = None if target is None else target[who]
        values = objective.score(View(logits), samples.labels[who], towards)
        self.cost.add(calls=len(near))
        up, down = values.reshape(len(x), 2, count).unbind(1)
        slopes = (up - down) / (2 * step)
        gradient = torch.einsum("bn,bnp->bp", slopes, directions) / directions.square().sum(1)
        return reading._replace(gradient=gradient.reshape(x.shape))

    def _directions(self, x: Tensor, rows: Tensor) -> Tensor:
        """(B, n, pixels)."""
        pixels = x[0].numel()
        if pixels <= self._differences.directions:
            return torch.eye(pixels, device=x.device).expand(len(x), -1, -1)
        self._visits += 1
        shape = (self._differences.directions, pixels)
        return self._signs.signs(rows, self._visits, shape)

    def _logits(self, x: Tensor, rows: Rows) -> Tensor:
        return self._answers(x, positions(x, rows))

    def _differentiable(self, x: Tensor, rows: Rows) -> Tensor:
        raise AssertionError("logits_form is False")

    def _answers(self, x: Tensor, rows: Tensor) -> Tensor:
        parts = []
        for images, where in zip(x.split(_CHUNK), rows.split(_CHUNK), strict=True):
            prediction = self._target.predict(images, where, self._draws)
            self.cost.add(forward=int(prediction.nfe.sum()))
            parts.append(prediction.logits)
        return torch.cat(parts)
