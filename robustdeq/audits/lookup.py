"""Are the test images known by heart?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot, pad

from robustdeq.attacks.pgd import PGD
from robustdeq.audits.base import Audit, Case, Measure
from robustdeq.audits.chance import CHANCE, stands_out
from robustdeq.audits.outsiders import first, mostly, remaining, usable
from robustdeq.defenses.chains import defines_more
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.evaluation.attack import attack
from robustdeq.evaluation.column import Stage
from robustdeq.evaluation.judge import SELECTION, Judge
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples

_FLAG = "memorized"
_FLIPS = 4  # versions of an image with a pixel flipped
_SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)
_MULTIPLES = (Fraction(1), Fraction(2))  # of the radius: within one a good network loses few images
_FLIP_LIMIT, _SHIFT_LIMIT = 0.2, 0.3  # shares of images


@dataclass(frozen=True)
class Lookup(Audit):
    """Images in their place against the same images changed so little that they stay what they are.

    Who has the labels of the test images recognizes each of them, attacked or not, and no attack
    finds anything. What is recognized by its pixels is lost when these move, though, and then the
    answer is that of whatever network stands behind. Two changes tell on two kinds of memory:

    - One pixel is flipped to black or white, a random one that nobody can foresee, and every
      version is attacked afresh. Images that are known within a distance are known no more; those
      of an honest network fall a little.
    - The image is shifted by a pixel, edges replicated. That is much for a small image and an
      honest network, too, so it is held against a control: the network alone, without anything
      that the chain does at inference, whatever it states of that. The control is attacked, at the
      radius and at twice that, and the chain is asked about those inputs that the control has right
      before and wrong after.

    The value is the share of images that are right in place less that of their other versions,
    averaged over the images. The p is exact: were the place of no matter, each version of an image
    would be the one in place with equal chance. Raised where chance is ruled out and the fall is
    beyond what honest networks show.
    """

    images: int = 100
    steps: int = 8

    def examine(self, case: Case) -> list[Measure]:
        if case.x.ndim != 4:
            return []
        case = first(case, self.images)
        return [*self._flipped(case), *self._shifted(case)]

    def _flipped(self, case: Case) -> Iterator[Measure]:
        """What the chain loses under attack by a pixel."""
        if not (stages := usable(case, self._stages)):
            return
        versions = _versions(case, [_flip(case, draw) for draw in range(_FLIPS)])
        right = mostly(remaining(versions, stages)).reshape(-1, len(case.y))
        yield _measure("with a pixel flipped", _FLIP_LIMIT, right, torch.ones_like(right))

    def _shifted(self, case: Case) -> Iterator[Measure]:
        """What the chain has right of inputs that break the network alone."""
        defense = case.target.defense
        if not (defense.at_inference.acts or defines_more(defense)):
            return
        control = replace(case.target, defense=Vanilla())  # its hooks are the contract's defaults
        bare = replace(case, target=control, judge=Judge(control, 128, False, case.judge.salt))
        if not (stages := usable(bare, self._stages)):
            return
        versions = _versions(bare, [_shift(case.x, *by) for by in _SHIFTS])
        for multiple in _MULTIPLES:
            wider = replace(case.threat, eps=case.threat.eps * multiple)
            broken, x = _broken(replace(versions, threat=wider), stages)
            right = broken.clone()
            right[broken] = _right(case.judge, versions.samples.moved(x).select(broken))
            change = f"shifted, where {wider.eps} breaks the network alone"
            both = (each.reshape(-1, len(case.y)) for each in (right, broken))
            yield _measure(change, _SHIFT_LIMIT, *both)

    @property
    def _stages(self) -> tuple[Stage, ...]:
        return (Stage(PGD(steps=self.steps, objective=Margin())),)


def _versions(case: Case, changed: list[Tensor]) -> Case:
    """The images in place, and then all their changed versions, as one case."""
    count = 1 + len(changed)
    images = torch.cat([case.x, *changed])
    samples = Samples(images, case.y.repeat(count), case.rows.repeat(count))
    return replace(case, samples=samples, left=None)


def _flip(case: Case, draw: int) -> Float[Tensor, "n channels height width"]:
    """Each image with one random pixel black, or white where it was dark."""
    height, width = case.x.shape[2:]
    where = case.noise.hidden.child("flipped").integers(case.rows, draw, height * width)
    chosen = one_hot(where, height * width).bool().reshape(-1, 1, height, width)
    return torch.where(chosen, (case.x <= 0.5).to(case.x), case.x)


def _shift(x: Tensor, down: int, right: int) -> Float[Tensor, "n channels height width"]:
    height, width = x.shape[2:]
    rows, columns = slice(1 - down, 1 - down + height), slice(1 - right, 1 - right + width)
    return pad(x, (1, 1, 1, 1), mode="replicate")[:, :, rows, columns]


def _broken(case: Case, stages: tuple[Stage, ...]) -> tuple[Bool[Tensor, " m"], Tensor]:
    """Which images a target has right before and wrong after an attack, and what they became."""
    seed = case.noise.child("control").seed
    found = attack(case.target, case.judge, case.samples, case.threat, stages, seed)
    return found.attacked & ~mostly(found.survival), found.crafted.x


def _right(judge: Judge, samples: Samples) -> Bool[Tensor, " m"]:
    if judge.draws(samples.images, samples.positions):
        return mostly(judge.share(samples, SELECTION, "lookup"))
    return judge.answer(samples.images, samples.positions).labels == samples.labels


def _measure(
    change: str, limit: float, right: Bool[Tensor, "versions n"], there: Bool[Tensor, "versions n"]
) -> Measure:
    """The fall from the first version, that in place, to the others, where they are there."""
    fall, p, first_right, n = stands_out(right.cpu().numpy(), there.cpu().numpy())
    detail = (
        f"{first_right} of {n} images are right in place, {first_right - fall * n:.1f} {change}"
    )
    return Measure(_FLAG, fall, limit, fall > limit and p <= CHANCE, detail, p)
