"""The contract of a defense."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustdeq.defenses import returned
from robustdeq.defenses.batch import Batch as Batch
from robustdeq.defenses.card import Card as Card
from robustdeq.defenses.handed_on import handed_on
from robustdeq.defenses.inference import NETWORK, Inference, told_by_hooks
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier, Prediction
from robustdeq.models.base import Task as Task
from robustdeq.noise import NoiseStream, RowNoise, TrainingNoise
from robustdeq.registry import Plugin, find
from robustdeq.surface import Surface
from robustdeq.surfaces.training import training_surface

Stage = Literal["network", "training", "inference"]
Sign = Callable[[Tensor], Tensor]


class Defense(Plugin, ABC):
    """What makes a classifier robust, at training time, at inference or both.

    A frozen dataclass: its fields are its configuration. Every hook receives the `target`, the
    whole chain, and calls other hooks through `target.defense`, so that an outer wrapper is seen by
    the inner ones. Randomness comes from `noise` alone, keyed by sample. Only `build` is abstract.

    `inference` says what the class does to an image's answer, and so how it is attacked: NETWORK,
    REWRITES, ANSWERS or UPDATES, joined by "|". Left out, the hooks that the class defines say it.
    """

    kind: ClassVar[str] = "defenses"
    stage: ClassVar[Stage] = "network"
    loop: ClassVar[str] = "central"  # the plug-in of the kind `loops` that trains it
    adaptive: ClassVar[tuple[str | dict[str, Any], ...]] = ()  # further views, as in a protocol
    inference: ClassVar[Inference] = NETWORK  # what this class adds; `at_inference` is the chain's
    card: ClassVar[Card]

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        if "inference" not in vars(cls):
            parent = next(each for each in cls.__mro__[1:] if issubclass(each, Defense))
            cls.inference = parent.inference | told_by_hooks(cls, parent)

    @classmethod
    def from_text(cls, text: str) -> "Defense":
        """A chain with default fields, outermost first: "trades/vanilla"."""
        name, _, base = text.partition("/")
        found = find("defenses", name)
        if not base:
            if issubclass(found, Wrapper):
                raise SpecError(f"{name!r} wraps a base; write {name}/vanilla, for example")
            return found()
        if not issubclass(found, Wrapper):
            raise SpecError(f"{name!r} is a network and wraps nothing; drop {'/' + base!r}")
        return found(base=Defense.from_text(base))

    @property
    def chain(self) -> str:
        """The names of the chain, outermost first, joined by "/"."""
        return self.plugin_name()

    @property
    def at_inference(self) -> Inference:
        """What the whole chain does at inference."""
        return self.inference

    @property
    def parts(self) -> "tuple[Defense, ...]":
        """The defenses of the chain, outermost first."""
        return (self,)

    def relies_on(self) -> tuple[tuple[str, str], ...]:
        return (("loops", self.loop),)

    @property
    def control(self) -> "Defense | None":
        """What alone it may be ranked against, on equal epochs; None where that is every row."""
        return None

    @abstractmethod
    def build(self, task: Task) -> Classifier:
        """A fresh network; parameters are drawn from torch's generator, which the caller seeds."""

    def craft(
        self, target: "DefendedModel", batch: Batch, noise: TrainingNoise, memory: dict[str, Tensor]
    ) -> Tensor:
        """The training input (B, *image). `memory` lasts across the epochs of one training."""
        return batch.x

    def crafting_surface(self, target: "DefendedModel", noise: TrainingNoise) -> Surface:
        """What the inner maximisation of a training step climbs on."""
        return training_surface(target.classifier)

    def outputs(self, target: "DefendedModel", x: Tensor, noise: TrainingNoise) -> Tensor:
        """The logits (B, C) that the training loss reads."""
        return target.classifier(x)

    def penalty(self, target: "DefendedModel", x: Tensor, noise: TrainingNoise) -> Tensor:
        """A scalar added to the training loss."""
        return x.new_zeros(())

    def objective(
        self, target: "DefendedModel", batch: Batch, x_adv: Tensor, noise: TrainingNoise
    ) -> Tensor:
        """The training loss, a scalar: cross-entropy on the crafted input, plus the penalty."""
        logits = target.defense.outputs(target, x_adv, noise)
        return cross_entropy(logits, batch.y) + target.defense.penalty(target, x_adv, noise)

    def calibrate(
        self, target: "DefendedModel", held_out: Batch, noise: TrainingNoise
    ) -> dict[str, Any]:
        """Plain data fixed once after training, on held-out training images."""
        return {}

    def transform(self, target: "DefendedModel", x: Tensor, noise: RowNoise) -> Tensor:
        """What inference does to its input first; purification goes here."""
        return x

    def infer(self, target: "DefendedModel", x: Tensor, noise: RowNoise) -> Prediction:
        """The deployed answer."""
        return target.classifier.predict(target.transformed(x, noise))

    def relaxed(self, target: "DefendedModel", x: Tensor, noise: RowNoise) -> Tensor:
        """Logits of `infer`'s answer, differentiable in x: identity backward through `transform`.

        The backward pass differentiable approximation of Athalye, Carlini and Wagner (2018).
        """
        with torch.no_grad():
            transformed = target.transformed(x, noise)
        # Detached, because a transform that leaves the input alone returns x itself.
        return target.classifier(transformed.detach() + (x - x.detach()))

    def unrolled(
        self, target: "DefendedModel", x: Tensor, noise: RowNoise, last: int, sign: Sign
    ) -> Tensor:
        """Logits of `infer`'s answer, differentiable through its last inner updates of the input.

        Args:
            last: updates to differentiate, counted from the end; those before are constants.
            sign: stands for torch.sign, with a derivative; 0 is that of the sign itself.
        """
        return target.defense.relaxed(target, x, noise)


@dataclass(frozen=True)
class Wrapper(Defense, ABC):
    """A defense around another one: what it does not override is its base's."""

    base: Defense
    stage: ClassVar[Stage] = "training"
    inference: ClassVar[Inference] = NETWORK

    def __post_init__(self):
        if self.stage == "training" and self.base.stage == "inference":
            raise SpecError(
                f"{self.chain!r}: a training defense cannot wrap the inference defense "
                f"{self.base.plugin_name()!r}; inference wrappers stand outermost"
            )
        if type(self) in [type(part) for part in self.base.parts]:
            raise SpecError(f"{self.chain!r} wraps {self.plugin_name()!r} around itself")
        if self.stage == "training" and self.base.loop != Defense.loop:
            inner, _, rest = self.base.chain.partition("/")
            raise SpecError(
                f"{self.chain!r}: the training loop {self.base.loop!r} runs what stands inside "
                f"{self.base.plugin_name()!r}, and a training defense around it would never be "
                f"asked; write {f'{inner}/{self.plugin_name()}/{rest}'!r}"
            )

    @property
    def loop(self) -> str:
        """The base's; a wrapper with a loop of its own states it as `Defense` does."""
        return self.base.loop

    @property
    def chain(self) -> str:
        return f"{self.plugin_name()}/{self.base.chain}"

    @property
    def at_inference(self) -> Inference:
        return self.inference | self.base.at_inference

    @property
    def parts(self) -> tuple[Defense, ...]:
        return (self, *self.base.parts)

    def relies_on(self) -> tuple[tuple[str, str], ...]:
        stated = type(self).loop  # else it is the base's affair
        return (("loops", stated),) if isinstance(stated, str) else ()

    @property
    def control(self) -> Defense | None:
        """This wrapper around its base's control, if that has one."""
        return replace(self, base=self.base.control) if self.base.control else None

    build = handed_on(Defense.build)
    craft = handed_on(Defense.craft)
    crafting_surface = handed_on(Defense.crafting_surface)
    outputs = handed_on(Defense.outputs)
    penalty = handed_on(Defense.penalty)
    objective = handed_on(Defense.objective)
    calibrate = handed_on(Defense.calibrate)
    transform = handed_on(Defense.transform)
    infer = handed_on(Defense.infer)
    relaxed = handed_on(Defense.relaxed)
    unrolled = handed_on(Defense.unrolled)


@dataclass(frozen=True, eq=False)
class DefendedModel:
    """Defense, network, weights and calibration together: what is attacked and what is judged."""

    defense: Defense
    classifier: Classifier
    calibration: Mapping[str, Any]
    progress: float = 1.0  # the share of its training that is done, for schedules

    def predict(
        self, x: Float[Tensor, "batch *image"], rows: Int[Tensor, " batch"], noise: NoiseStream
    ) -> Prediction:
        """The deployed answer, cold.

        `rows` and `noise` key whatever the defense draws; it learns neither. It gets a copy of the
        images, to write into as it likes.

        Raises:
            ContractViolation: the defense returns something else.
        """
        with torch.no_grad():
            found = self.defense.infer(self, x.clone(), noise.sealed(rows))
        return returned.prediction(found, f"{self.defense.chain}: `infer`", len(x))

    def transformed(self, x: Float[Tensor, "batch *image"], noise: RowNoise) -> Tensor:
        """What inference makes of its input first.

        Raises:
            ContractViolation: that is no batch of images of the same shape.
        """
        found = self.defense.transform(self, x, noise)
        return returned.tensor(found, f"{self.defense.chain}: `transform`", tuple(x.shape))
