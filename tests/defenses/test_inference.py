"""What a defense does at inference decides how it is attacked, and nothing weakens that unseen."""

import functools
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import softplus

from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.attacks.pgd import PGD
from robustdeq.audits.readouts import Binary, features
from robustdeq.defenses.base import Card, DefendedModel, Defense, Wrapper
from robustdeq.defenses.early_state import EarlyState
from robustdeq.defenses.entropy_reduction import EntropyReduction
from robustdeq.defenses.inference import ANSWERS, NETWORK, REWRITES, Inference
from robustdeq.defenses.state_ensemble import StateEnsemble
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.evaluation.forgetful import Forgetful
from robustdeq.evaluation.union import white_box
from robustdeq.models.base import Classifier, Deployment
from robustdeq.models.equilibrium_network import through_solvers
from robustdeq.noise import NoiseStream
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.solvers.picard import Picard
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surrogates import defended as surrogate
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.expectation import Expectation
from robustdeq.surrogates.straight_through import StraightThrough
from robustdeq.surrogates.through_defence import ThroughDefence
from robustdeq.surrogates.through_solver import ThroughSolverView
from robustdeq.testing.toys import tiny_deq, toy_images
from robustdeq.threats.linf import Linf

SPLIT = toy_images(8)
X, Y, ROWS = SPLIT.images, SPLIT.labels, torch.arange(8)
NOISE = NoiseStream(0)


def darkened(hook):
    @functools.wraps(hook)
    def half(*arguments):
        return hook(*arguments) / 2

    return half


@dataclass(frozen=True)
class Own(Wrapper):
    """One of this file's, under the name of its class."""

    card: ClassVar[Card] = Card("A test", "none")

    @classmethod
    def plugin_name(cls):
        return cls.__name__.lower()


@dataclass(frozen=True)
class Passing(Own):
    """Writes every hook out, and hands every question on."""

    def transform(self, target, images, noise):
        return self.base.transform(target, images, noise)

    def infer(self, target, x, noise):
        """The base's answer."""
        return self.base.infer(target, x, noise)

    def relaxed(self, target, x, draws):
        return self.base.relaxed(target, x, draws)

    def unrolled(self, target, x, noise, last, sign):
        return self.base.unrolled(target, x, noise, last, sign)


@dataclass(frozen=True)
class PassingAtInference(Passing):
    stage: ClassVar = "inference"


@dataclass(frozen=True)
class Stated(Own):
    """Passes through, and says so, since its code looks otherwise."""

    stage: ClassVar = "inference"
    inference: ClassVar = NETWORK

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=answer.logits)


@dataclass(frozen=True)
class Unstated(Own):
    """Answers as its base does, by code that does not show it."""

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=answer.logits + 0.0)


@dataclass(frozen=True)
class Decorated(Own):
    """Hands the question on, and its decorator does the work."""

    @darkened
    def transform(self, target, x, noise):
        return self.base.transform(target, x, noise)


@dataclass(frozen=True)
class CutOff(Own):
    """Answers as if it had no base."""

    transform = Defense.transform


@dataclass(frozen=True)
class OnlyRelaxed(Own):
    def relaxed(self, target, x, noise):
        return 1.0 * self.base.relaxed(target, x, noise)


class Halves:
    """Hooks from outside the contract."""

    def transform(self, target, x, noise):
        return x / 2


@dataclass(frozen=True)
class Mixed(Halves, Own):
    """Rewrites by a hook that it did not define."""


@dataclass(frozen=True)
class MoreMixed(Mixed):
    """A child that adds nothing."""


def target(defense):
    """A network that is trained with a gradient of two steps, and solved tightly."""
    model = tiny_deq(solver=Picard(tol=1e-6, max_steps=200), adjoint=Unrolled(2))
    return DefendedModel(defense, model, {})


def gradient(view, defended):
    surface = view.bind(defended, NOISE).surface
    return surface.value_and_grad(Samples(X, Y, ROWS), CrossEntropy()).gradient


EXACT = gradient(ThroughSolverView(), target(Vanilla()))


@pytest.mark.parametrize(
    "kind", [Passing, PassingAtInference, Stated], ids=lambda kind: kind.__name__
)
class TestPassingThrough:
    """It was attacked with the gradient that trained it, and met five columns more."""

    def test_it_has_the_surface_and_the_gradient_of_its_base(self, kind):
        bare, wrapped = target(Vanilla()), target(kind(Vanilla()))
        assert isinstance(Defended().bind(wrapped, NOISE).surface, EquilibriumSurface)
        found = [gradient(Defended(), each) for each in (bare, wrapped)]
        assert torch.equal(*found)

    def test_it_has_the_columns_and_the_union_of_its_base(self, kind):
        assert derived_views(kind(Vanilla()), randomised=False) == ()
        assert white_box(target(kind(Vanilla()))) == white_box(target(Vanilla()))
        if kind.stage == "inference":
            ensemble = StateEnsemble(Vanilla(), 3)
            assert derived_views(kind(ensemble), False) == derived_views(ensemble, False)

    def test_an_attack_finds_the_same_inputs(self, kind):
        found = []
        for defense in (Vanilla(), kind(Vanilla())):
            approach = Defended().bind(target(defense), NOISE)
            found.append(
                PGD(steps=5).perturb(approach, Samples(X, Y, ROWS), Linf(Fraction(1, 8)), NOISE)
            )
        assert torch.equal(*found)


class TestStatements:
    @pytest.mark.parametrize(
        ("defense", "does"),
        [
            (Vanilla(), NETWORK),
            (Passing(Vanilla()), NETWORK),
            (Stated(Vanilla()), NETWORK),
            (Unstated(Vanilla()), ANSWERS),
            (OnlyRelaxed(Vanilla()), ANSWERS),
            (Decorated(Vanilla()), REWRITES),
            (CutOff(Vanilla()), REWRITES),
            (Mixed(Vanilla()), REWRITES),
            (MoreMixed(Vanilla()), REWRITES),
            (Stated(Mixed(Vanilla())), REWRITES),
            (Unstated(Mixed(Vanilla())), REWRITES | ANSWERS),
            (StateEnsemble(Vanilla()), Inference(answers=True, updates=True)),
        ],
        ids=lambda value: value.chain if hasattr(value, "chain") else "",
    )
    def test_what_is_not_stated_counts_as_acting(self, defense, does):
        assert defense.at_inference == does

    def test_what_looks_as_if_it_acts_meets_every_column(self):
        assert len(derived_views(Unstated(Vanilla()), randomised=False)) == 5

    def test_a_passing_hook_around_one_that_acts_hides_nothing(self):
        views = derived_views(Passing(Unstated(Vanilla())), randomised=False)
        assert views == derived_views(Unstated(Vanilla()), randomised=False)


class Around(Classifier):
    """An explicit network with an equilibrium one inside."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)

    def predict(self, x):
        return self.inside.predict(x)

    def deployment(self):
        return Deployment()


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


class TestGradient:
    """An own path was differentiated by the adjoint that had trained its network."""

    @pytest.mark.parametrize("kind", [Unstated, OnlyRelaxed], ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize(
        "view", [Defended(), StraightThrough(), Expectation(draws=1)], ids=lambda v: v.plugin_name()
    )
    def test_a_path_of_its_own_is_differentiated_exactly(self, kind, view):
        close(gradient(view, target(kind(Vanilla()))), EXACT)

    def test_straight_through_a_transform_it_is_exact_at_the_rewritten_input(self):
        halved = target(Mixed(Vanilla()))
        close(gradient(StraightThrough(), halved), gradient(ThroughSolverView(), halved))

    def test_so_is_a_model_that_is_asked_cold(self):
        close(gradient(Defended(), target(Forgetful(Vanilla()))), EXACT)

    def test_so_is_an_equilibrium_network_inside_another_network(self):
        hidden = replace(target(Vanilla()), classifier=Around(target(Vanilla()).classifier))
        close(gradient(Defended(), hidden), EXACT)
        assert hidden.classifier.inside.adjoint == Unrolled(2), "the model itself stays as it was"

    def test_so_is_a_planted_read_out_of_logits(self):
        weight, zeros = torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.zeros_like(Y)
        read = features(target(Unstated(Vanilla()))).read(weight, 0.0)
        assert isinstance(read.defense, Binary)
        surface = Defended().bind(read, NOISE).surface
        found = surface.value_and_grad(Samples(X, zeros, ROWS), CrossEntropy()).gradient
        leaf = X.clone().requires_grad_()
        scores = through_solvers(read.classifier)(leaf) @ weight
        close(found, torch.autograd.grad(softplus(scores).sum(), leaf)[0])

    @pytest.mark.parametrize("view", [Defended(), ThroughDefence()], ids=lambda v: v.plugin_name())
    @pytest.mark.parametrize("kind", [StateEnsemble, EarlyState, EntropyReduction])
    def test_the_shipped_inference_defenses_never_followed_the_adjoint_of_training(
        self, kind, view, monkeypatch
    ):
        """So the committed figures of these rows stand, bit for bit."""
        own = replace(target(kind(Vanilla())), calibration={"state": 3})
        found = gradient(view, own)
        monkeypatch.setattr(surrogate, "through_solvers", lambda network: network)
        assert torch.equal(found, gradient(view, own))
