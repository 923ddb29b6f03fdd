"""The one attack: what it says is what a judge says of what it returns, and nothing else moves."""

import copy
import inspect
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import robustdeq
from robustdeq.attacks.base import Attack
from robustdeq.attacks.pgd import PGD
from robustdeq.attacks.square import Square
from robustdeq.defenses.base import Card, DefendedModel, Wrapper
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import ContractViolation, SpecError
from robustdeq.evaluation.bench import Bench
from robustdeq.evaluation.column import Column, Stage
from robustdeq.evaluation.evaluate import evaluate
from robustdeq.evaluation.judge import FRESH, Judge
from robustdeq.evaluation.trial import Trial
from robustdeq.noise import NoiseStream
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended
from robustdeq.surroundings import own_surroundings
from robustdeq.testing.toys import TASK, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import train

DATA = toy_data(train=64, held_out=16, test=12)
X, Y, N = DATA.test.images, DATA.test.labels, len(DATA.test)
ROWS, EPS = torch.arange(N), "1/8"
CPU, SALT = torch.device("cpu"), "07" * 16


@pytest.fixture(scope="module")
def honest():
    """A small DEQ that is right on the clean images."""
    defense = Vanilla(channels=8)
    recipe = Recipe(Linf(Fraction(1, 8)), epochs=4, batch_size=16, validate_every=4)
    model, _ = train(Entrant(defense, recipe), DATA, CPU)
    return DefendedModel(defense, model.eval().requires_grad_(False), {})


@dataclass(frozen=True)
class Other(Wrapper):
    """The base's logits, made into others."""

    card: ClassVar[Card] = Card("Other", "by hand")
    stage = "inference"

    def infer(self, target, x, noise):
        answer = target.classifier.predict(x)
        return replace(answer, logits=self.made(target, answer.logits, noise))

    def relaxed(self, target, x, noise):
        return self.made(target, target.classifier(x), noise)


class Constant(Other):
    def made(self, target, logits, noise):
        return 0 * logits + torch.tensor([1.0, 1.0, 0.0, 0.0])


class Quantized(Other):
    def made(self, target, logits, noise):
        return logits + ((4 * logits).round() / 4 - logits).detach()


class RuledOut(Other):
    def made(self, target, logits, noise):
        return logits.masked_fill(torch.tensor([False, False, False, True]), -torch.inf)


class TwoClasses(Other):
    def made(self, target, logits, noise):
        return torch.stack([logits[:, :2].amax(1), logits[:, 2:].amax(1)], 1)


class OneSilent(Other):
    def made(self, target, logits, noise):
        return torch.where((logits.argmax(1) == 2)[:, None], torch.nan, logits)


class Double(Other):
    def made(self, target, logits, noise):
        return logits.double()


class Coupled(Other):
    def made(self, target, logits, noise):
        return logits - 0.9 * logits.mean(0)


class Randomized(Other):
    def made(self, target, logits, noise):
        return logits + noise.normal((TASK.classes,)).to(logits)


class Counting(Other):
    """Answers the more slowly the more often it was asked: in truth another function each time."""

    def made(self, target, logits, noise):
        asked = target.classifier.asked = getattr(target.classifier, "asked", 0) + 1
        return logits.roll(asked - 1, 1)


ZOO = [Constant, Quantized, RuledOut, TwoClasses, OneSilent, Double, Coupled, Counting]


def behind(kind, honest):
    return replace(honest, defense=kind(base=honest.defense))


@pytest.mark.parametrize(
    ("kind", "flag"),
    [(Constant, "zero-gradient"), (Coupled, "row-coupled"), (Counting, "stateful")],
)
def test_what_would_block_a_rank_is_a_warning(kind, flag, honest):
    """100 % right, it said without a word, of a network that shows no gradient."""
    with pytest.warns(UserWarning, match=f"{flag}: .*need not be robust"):
        robustdeq.attack(behind(kind, honest), X, Y, PGD(steps=1), EPS)


def test_a_search_without_gradients_is_not_warned_of_their_absence(honest):
    robustdeq.attack(behind(Constant, honest), X, Y, Square(queries=2), EPS)


@pytest.mark.filterwarnings("ignore:.*need not be robust")
@pytest.mark.parametrize("attack", [PGD(steps=4), Square(queries=30)], ids=["pgd", "square"])
@pytest.mark.parametrize("kind", ZOO)
def test_what_an_attack_says_is_what_a_judge_says_of_what_it_returns(kind, attack, honest):
    """Constant logits: 0 of 40 right, it said, of inputs that the network has right."""
    model, y = behind(kind, honest), Y % 2 if kind in (Constant, TwoClasses) else Y
    found, right = robustdeq.attack(model, X, y, attack, EPS)
    fresh = copy.deepcopy(model)
    if kind is Counting:
        label = copy.deepcopy(model).predict(found, ROWS, NoiseStream(0).child("judge")).labels
        assert torch.equal(right, label == y)
    else:
        assert torch.equal(right, Judge(fresh, 128)(Samples(found, y, ROWS)).right)
    if kind is Constant:
        assert torch.equal(right, y == 0)
    if kind is RuledOut:
        assert not right[Y == 3].any()
        assert found.isfinite().all()


def test_a_randomized_defense_is_told_by_the_share_of_fresh_draws(honest):
    """`attack` and `evaluate` judged it by one draw, `run` by a hundred."""
    model = behind(Randomized, honest)
    found, right = robustdeq.attack(model, X, Y, Square(queries=20), EPS, salt=SALT)
    assert torch.equal(
        right, Judge(model, 128, True, SALT).share(Samples(found, Y, ROWS), FRESH, "fresh")
    )
    for known in (None, False, True):
        column = Column("square", (Stage(Square(queries=20)),), (0,))
        data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
        trial = Trial(Entrant(model.defense), column, data, Linf(Fraction(1, 8)))
        bench = Bench(lambda: copy.deepcopy(model), "0" * 64, CPU, randomised=known, salt=SALT)
        record, _ = evaluate(trial, bench, DATA.test)
        assert record.robust == pytest.approx(right.mean().item())


class Normalized(nn.Module):
    """An injection that keeps running statistics in training mode."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm2d(1)

    def forward(self, x):
        return self.inner(self.norm(x))


def left_in_training(honest):
    own = honest.classifier
    model = replace(honest, classifier=copy.deepcopy(own.replaced(inject=Normalized(own.inject))))
    model.classifier.requires_grad_(True)
    for module in model.classifier.modules():
        module.training = True
    model.classifier.head[-1].weight.grad = torch.ones_like(model.classifier.head[-1].weight)
    return model


def test_a_network_left_in_training_mode_is_attacked_as_it_is_deployed(honest):
    """It was right on 6 % instead of 81 %, and its running statistics moved."""
    model = left_in_training(honest)
    before = copy.deepcopy(model.classifier.state_dict())
    found, right = robustdeq.attack(model, X, Y, PGD(steps=3), EPS)
    deployed = copy.deepcopy(model)
    deployed.classifier.eval()
    assert torch.equal(right, Judge(deployed, 128)(Samples(found, Y, ROWS)).right)
    assert all(module.training for module in model.classifier.modules())
    assert all(parameter.requires_grad for parameter in model.classifier.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.classifier.state_dict().items())
    gradients = [p.grad for p in model.classifier.parameters() if p.grad is not None]
    assert len(gradients) == 1
    assert (gradients[0] == 1).all()


def test_a_trial_evaluates_a_network_that_was_left_in_training_mode(honest):
    column = Column("pgd", (Stage(PGD(steps=3)),), (0,))
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
    trial = Trial(Entrant(honest.defense), column, data, Linf(Fraction(1, 8)))
    training = left_in_training(honest)
    settled = copy.deepcopy(training)
    settled.classifier.eval()
    wanted, found = (
        evaluate(trial, Bench(lambda m=m: copy.deepcopy(m), "0" * 64, CPU), DATA.test)[0]
        for m in (settled, training)
    )
    assert (found.clean, found.robust) == (wanted.clean, wanted.robust)


SURROUNDINGS = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "meta device": lambda: torch.device("meta"),
}


def state():
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"), torch.is_anomaly_enabled(), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.get_default_device(),
        torch.get_rng_state().tolist() if torch.get_default_device().type == "cpu" else None,
        np.random.get_state()[1].tolist(),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.parametrize("attack", [PGD(steps=3), Square(queries=10)], ids=["pgd", "square"])
def test_a_callers_context_neither_matters_nor_changes(name, attack, honest):
    wanted, right = robustdeq.attack(honest, X, Y, attack, EPS)
    with SURROUNDINGS[name]():
        before = state()
        found, still = robustdeq.attack(honest, X, Y, attack, EPS)
        assert state() == before
    assert torch.equal(found, wanted)
    assert torch.equal(still, right)
    assert not found.is_inference()


def test_default_type_and_determinism_neither_matter_nor_change(honest):
    wanted, _ = robustdeq.attack(honest, X, Y, PGD(steps=3), EPS)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    try:
        before = state()
        found, _ = robustdeq.attack(honest, X, Y, PGD(steps=3), EPS)
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, wanted)


def test_generators_of_random_numbers_are_left_as_they_were():
    draw = (lambda: torch.rand(1).item(), np.random.rand)
    with own_surroundings():
        first = [each() for each in draw]
    assert [each() for each in draw] == first


def test_images_with_a_graph_are_attacked_without_it(honest):
    """The result kept the caller's graph, and their images."""
    leaf = X.clone().requires_grad_()
    found, _ = robustdeq.attack(honest, leaf * 1.0, Y, PGD(steps=3), EPS)
    wanted, _ = robustdeq.attack(honest, X, Y, PGD(steps=3), EPS)
    assert torch.equal(found, wanted)
    assert not found.requires_grad
    assert leaf.grad is None
    assert torch.equal(leaf.detach(), X)


@dataclass(frozen=True)
class Guest(Attack):
    """An attack that returns its images, after it has done what its name says."""

    way: str = "honest"
    needs_gradient: ClassVar[bool] = False

    def run(self, search):
        x = search.samples.images
        moved = x + 0.3
        match self.way:
            case "images":
                x += 0.3
            case "labels":
                search.samples.labels.fill_(0)
            case "positions":
                search.samples.positions.fill_(0)
            case "none":
                search.put_forward(x[:0])
            case "too many":
                for _ in range(4):
                    search.put_forward(x)
            case "one image":
                search.put_forward(x[0])
            case "another type":
                search.put_forward(x.double())
            case "nothing":
                search.put_forward(None)
            case "NaN":
                search.put_forward(torch.where(moved > 0.5, torch.nan, x))
            case "idle":
                return None
            case "returned":
                return x
        search.put_forward(x)
        return None


@pytest.mark.parametrize("way", ["images", "labels", "positions"])
def test_an_attack_that_writes_into_what_it_is_given_is_named(way, honest):
    """It escaped the radius, or filed candidates under other images: robust 0.0, no flag."""
    with pytest.raises(ContractViolation, match=rf"attack '[\w-]+', .* wrote into the {way}"):
        robustdeq.attack(honest, X, Y, Guest(way), EPS)
    assert torch.equal(X, DATA.test.images)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("none", r"of shape \(0, 1, 8, 8\)"),
        ("too many", "puts forward more than 3 candidates"),
        ("one image", r"of shape \(1, 8, 8\)"),
        ("another type", "puts forward torch.float64"),
        ("nothing", "puts forward a NoneType"),
        ("NaN", "NaN or infinite for"),
        ("idle", "looked at no point and put nothing forward"),
        ("returned", "returned a Tensor from `run`, .*`search.put_forward`"),
    ],
)
def test_candidates_that_are_none_are_refused_in_a_sentence(way, words, honest):
    with pytest.raises(ContractViolation, match=words):
        robustdeq.attack(honest, X, Y, Guest(way), EPS)


@dataclass(frozen=True)
class Meddling(Defended):
    """A view that changes the weights of what it looks at."""

    def bind(self, target, noise, sources=()):
        with torch.no_grad():
            target.classifier.head[-1].bias += 1.0
        return super().bind(target, noise, sources)


def test_a_view_that_changes_weights_is_told(honest):
    column = Column("meddling", (Stage(Square(queries=2), Meddling()),), (0,))
    data = {"name": "toy-images", "digest": DATA.test.digest(), "n": N}
    trial = Trial(Entrant(honest.defense), column, data, Linf(Fraction(1, 8)))
    bench = Bench(lambda: copy.deepcopy(honest), "0" * 64, CPU)
    with pytest.raises(ContractViolation, match="changed the weights"):
        evaluate(trial, bench, DATA.test)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"attack": 3}, "attack is of the type int; expected a name, or an attack"),
        ({"seed": "a"}, "seed is of the type str; expected a whole number"),
        ({"seed": True}, "seed is of the type bool"),
        ({"salt": 5}, "salt is of the type int; expected a text"),
    ],
)
def test_an_argument_of_another_kind_is_told(wrong, said, honest):
    attack = inspect.unwrap(robustdeq.attack)  # as users have it: types are checked in tests alone
    with pytest.raises(SpecError, match=said):
        attack(honest, X, Y, eps=EPS, **wrong)


def test_a_bare_network_is_told_what_to_become(honest):
    with pytest.raises(SpecError, match=r"expected a DefendedModel, such as"):
        robustdeq.attack(honest.classifier, X, Y, eps=EPS)
