"""A defense under test: its networks on a small task, and how their answers are compared."""

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from robustdeq import registry
from robustdeq.answers import change, spread
from robustdeq.attacks.square import Square
from robustdeq.data.base import Split
from robustdeq.defenses.base import Batch, DefendedModel, Defense, Task, Wrapper
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import ContractViolation
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.checks import ROUNDING
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.trial import Trial
from robustdeq.models.base import Classifier, Prediction
from robustdeq.noise import NoiseStream, SealedNoise, TrainingNoise
from robustdeq.testing.toys import TASK, toy_data, toy_images
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build
from robustdeq.training.loops.base import train

COUNT = 16  # images
_SHAPES = (TASK.shape, (1, 28, 28), (3, 32, 32))  # of images that networks are made for
_HELD_OUT = Linf(Fraction(1, 8))  # what a calibration is told the threat is
NOISE = NoiseStream(0).child("contract")


@dataclass(frozen=True)
class Subject:
    """One defense on a small task, with a fresh network for every question."""

    defense: Defense

    @cached_property
    def task(self) -> Task:
        """Four classes of 8x8 images, or the first task that its network answers.

        A network that was made for some data has its classes and its images, whatever it is asked
        to be built for.
        """
        for shape in _SHAPES:
            try:
                asked = Task(shape, TASK.classes)
                logits = self._built(asked)(toy_images(COUNT, asked).images)
                if logits.ndim == 2 and len(logits) == COUNT and logits.shape[1] > 1:
                    return Task(shape, logits.shape[1])
            except Exception:
                continue
        return TASK

    @property
    def images(self) -> Split:
        """The labelled images, afresh: whoever writes into them spoils no later question."""
        return toy_images(COUNT, self.task)

    @property
    def rows(self) -> Tensor:
        """Their positions."""
        return torch.arange(COUNT)

    def network(self) -> Classifier:
        """Untrained, in evaluation mode and frozen."""
        return self._built(self.task)

    def _built(self, task: Task) -> Classifier:
        return build(Entrant(self.defense), task).eval().requires_grad_(False)

    def target(self) -> DefendedModel:
        """An untrained network, calibrated; no two share anything that a call could change."""
        made = self._calibrated
        return DefendedModel(self.defense, deepcopy(made.classifier), deepcopy(made.calibration))

    @cached_property
    def _calibrated(self) -> DefendedModel:
        network = self.network()
        bare = DefendedModel(self.defense, network, {})
        found = self.defense.calibrate(bare, self.batch(_HELD_OUT), self.noise())
        return DefendedModel(self.defense, network, found)

    def noise(self) -> TrainingNoise:
        """The draws of all images, as training hands them over."""
        return NOISE.at(self.rows)

    def draws(self) -> SealedNoise:
        """The draws of all images, those of `answer`."""
        return NOISE.sealed(self.rows)

    def batch(self, threat: ThreatModel) -> Batch:
        """All images as a training batch."""
        split = self.images
        return Batch(split.images, split.labels, self.rows, threat)

    def answer(
        self,
        rows: Tensor | None = None,
        target: DefendedModel | None = None,
        noise: NoiseStream = NOISE,
    ) -> Prediction:
        """The deployed prediction for some or all images, by default of a fresh network."""
        rows = self.rows if rows is None else rows
        with same_random_state():
            return (target or self.target()).predict(self.images.images[rows], rows, noise)

    def tolerance(self) -> float:
        """By how much two ways to one equilibrium may differ, relative to the logits' spread."""
        solver = self.network().deployment().tolerance
        return ROUNDING if solver is None else 10 * solver

    def losses(self, threat: ThreatModel, steps: int) -> list[float]:
        """The training loss at each row of the log, on one batch; centrally a row is a step."""
        recipe = Recipe(threat, epochs=steps, batch_size=COUNT, validate_every=1)
        data = toy_data(self.task, train=COUNT, held_out=4, test=1)
        entrant = Entrant(self.defense, recipe).trained
        _, log = train(entrant, data, torch.device("cpu"))
        return [row["loss"] for row in log]

    def evaluate(self, threat: ThreatModel) -> None:
        """A whole trial; the attack needs no gradient, so that only the evaluation is tried."""
        column = Column("contract", (Stage(Square(queries=2)),), (0,))
        data = {"name": "toy-images", "digest": self.images.digest(), "n": COUNT}
        trial = Trial(Entrant(self.defense), column, data, threat)
        evaluate(trial, Bench(self.target, "0" * 64, torch.device("cpu")), self.images)

    def explain(self, error: BaseException) -> str:
        """An exception of the defense's own in a sentence, with the line of its file."""
        text = (str(error).splitlines() or ["no message"])[0]
        sentence = f"{type(error).__name__}: {text}"
        frames = traceback.extract_tb(error.__traceback__)
        for file in (inspect.getfile(type(part)) for part in self.defense.parts):
            if lines := [frame.lineno for frame in frames if frame.filename == file]:
                return f"{sentence}; expected an answer: mend {file}, line {lines[-1]}"
        return f"{sentence}; expected an answer: mend the defense"


@contextmanager
def same_random_state() -> Iterator[None]:
    """Ask with one and the same global generator, and leave the caller's as it was.

    A defense that reads it then breaks the promise about global random numbers, and no other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def expect_shape(name: str, value: Tensor, wanted: tuple[int, ...]) -> None:
    """
    Raises:
        ContractViolation: the shape is another one.
    """
    if tuple(value.shape) != wanted:
        raise ContractViolation(
            f"{name} has shape {tuple(value.shape)}; expected {wanted}: return one row per image"
        )


def expect_close(answer: Tensor, other: Tensor, bound: float, when: str, remedy: str) -> None:
    """
    Raises:
        ContractViolation: a logit moved by more than `bound` times the typical distance between an
            image's largest and smallest one.
    """
    scale = max(1e-12, spread(answer).nanmedian().item())
    moved = change(answer, other).amax(1) / scale
    if not moved.max().item() <= bound:
        raise ContractViolation(
            f"{when}, the logits of {int((~(moved <= bound)).sum())} of {len(answer)} images move "
            f"by up to {moved.max().item():.2g} of their spread; expected at most {bound:.2g}: "
            f"{remedy}"
        )


def registered_chains() -> list[str]:
    """Every registered defense: networks by name, wrappers around the stock DEQ."""
    found = {name: registry.find("defenses", name) for name in registry.names("defenses")}
    return [f"{n}/vanilla" if issubclass(kind, Wrapper) else n for n, kind in found.items()]
