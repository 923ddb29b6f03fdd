"""The promises of a defense, for `robustdeq check` and for the tests of a third party's package."""

import inspect
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property

import torch

from robustdeq.answers import answered
from robustdeq.defenses.base import Card, Defense
from robustdeq.defenses.returned import plain
from robustdeq.errors import ContractViolation, by_user
from robustdeq.evaluation.bench import Guard
from robustdeq.evaluation.candidates import SLACK
from robustdeq.evaluation.checks import COUPLING, ROUNDING, gradient_findings
from robustdeq.spec import decode, encode
from robustdeq.surrogates.defended import Defended
from robustdeq.testing.declarations import misspelled, uncallable
from robustdeq.testing.subject import (
    COUNT,
    NOISE,
    Subject,
    expect_close,
    expect_shape,
    same_random_state,
)  # fmt: skip
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf

LINF, BALL, STEPS = Linf(Fraction(1, 8)), L2(Fraction(1, 2)), 8  # steps of the optimizer


class DefenseContract:
    """What every defense promises, each promise one test.

    Subclass it in a test file and name the defense; pytest finds the tests:

        class TestMine(DefenseContract):
            defense = Mine(base=Vanilla())

    Every promise is put to fresh networks on a task of sixteen images, so that none leans on
    another. A broken one raises `ContractViolation`: the value seen, what was expected, what to do.
    """

    defense: Defense

    @cached_property
    def subject(self) -> Subject:
        """The defense on the small task."""
        return Subject(self.defense)

    def test_card(self) -> None:
        """It has a card with a title and a citation."""
        card = getattr(self.defense, "card", None)
        if not isinstance(card, Card) or not card.title.strip() or not card.citation.strip():
            raise ContractViolation(
                f"its card is {card!r}; expected a title and a citation: give the class "
                f'`card: ClassVar[Card] = Card(title="...", citation="...")`'
            )

    def test_specification(self) -> None:
        """It is a frozen dataclass, and its fields survive a specification file."""
        for part in map(type, self.subject.defense.parts):
            if "__dataclass_fields__" not in vars(part):
                raise ContractViolation(
                    f"{part.__name__} is not a dataclass of its own, so its fields are no "
                    f"configuration; decorate it with @dataclass(frozen=True)"
                )
        written = json.loads(json.dumps(encode(self.defense)))
        read = decode(Defense, written)
        if read != self.defense:
            raise ContractViolation(
                f"written as {written} it is read back as {read!r}; expected an equal defense: "
                f"let fields be numbers, texts, fractions, tuples or plug-ins"
            )

    def test_network(self) -> None:
        """Its network answers images (B, C, H, W) with logits (B, classes), the largest finite."""
        network, x = self.subject.network(), self.subject.images.images
        for logits in (network(x), network.predict(x).logits):
            expect_shape("the answer", logits, (COUNT, self.subject.task.classes))
            silent = (~answered(logits)).nonzero()[:, 0]
            if len(silent):
                raise ContractViolation(
                    f"a fresh network answers {logits[silent[0]].tolist()}; expected logits whose "
                    f"largest is finite: start from smaller weights"
                )

    def test_names(self) -> None:
        """Its names are the contract's or its own, and its hooks take what they are handed."""
        for part in map(type, self.subject.defense.parts):
            for complaint in (*misspelled(part), *uncallable(part)):
                raise ContractViolation(complaint)

    def test_crafted_inputs(self) -> None:
        """Its training inputs are images in [0, 1]."""
        for threat in (LINF, BALL):
            batch, clean = self.subject.batch(threat), self.subject.images.images
            x = self.defense.craft(self.subject.target(), batch, self.subject.noise(), {})
            expect_shape("a crafted batch", x, tuple(clean.shape))
            excess = (x - 1.0).maximum(-x).max().item()
            if not excess <= SLACK:
                raise ContractViolation(
                    f"against {threat.plugin_name()} a training input leaves [0, 1] by "
                    f"{excess:.3g}; expected at most {SLACK}: end `craft` with `.clamp(0, 1)`, or "
                    f"with `batch.threat.project(x, batch.x)` to stay inside the threat set, too"
                )

    def test_training_gradient(self) -> None:
        """Its training loss is a finite scalar that gives some parameter a gradient."""
        target, batch = self.subject.target(), self.subject.batch(LINF)
        parameters = list(target.classifier.requires_grad_(True).parameters())
        loss = self.defense.objective(target, batch, batch.x, self.subject.noise())
        expect_shape("the training loss", loss, ())
        if not bool(torch.isfinite(loss)):
            raise ContractViolation(
                f"the training loss of a fresh network is {loss.item()}; expected a finite number: "
                f"look for a logarithm or a division of zero in `objective` and `penalty`"
            )
        moved = 0
        if loss.requires_grad:
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            moved = sum(bool((g != 0).any()) for g in found if g is not None)
        if not moved:
            raise ContractViolation(
                f"0 of {len(parameters)} parameters get a gradient from the training loss; "
                f"expected at least one: do not detach what `objective` and `outputs` compute"
            )

    def test_training(self) -> None:
        """A few optimiser steps on one batch lower its training loss."""
        losses = self.subject.losses(LINF, STEPS)
        if not losses[-1] < losses[0]:
            raise ContractViolation(
                f"the loss of one batch went from {losses[0]:.4g} to {losses[-1]:.4g} in {STEPS} "
                f"steps; expected less: check the sign of every term of `objective` and `penalty`"
            )

    def test_batch_peers(self) -> None:
        """A prediction does not depend on the images that share its batch."""
        remedy = "let row i of an answer read row i of the input alone"
        together, order = self.subject.answer().logits, self.subject.rows.flip(0)
        for size, when in ((COUNT // 2, "in another batch"), (1, "asked alone")):
            parts = [self.subject.answer(part).logits for part in order.split(size)]
            expect_close(together[order], torch.cat(parts), COUPLING, when, remedy)

    def test_repetition(self) -> None:
        """A prediction depends neither on the calls before it nor on being asked again."""
        remedy = "keep nothing between calls"
        target = self.subject.target()
        first = self.subject.answer(target=target).logits
        expect_close(
            first, self.subject.answer(target=target).logits, ROUNDING, "asked again", remedy
        )
        self.subject.answer(self.subject.rows.flip(0)[:5], target)
        later = self.subject.answer(target=target).logits
        expect_close(first, later, ROUNDING, "asked after other images", remedy)

    def test_mode(self) -> None:
        """Predictions and an evaluation leave modes, flags and global random numbers alone."""
        target = self.subject.target()
        guard = Guard(target)
        target.predict(self.subject.images.images, self.subject.rows, NOISE)
        guard.check()
        self.subject.evaluate(LINF)

    def test_account(self) -> None:
        """A prediction accounts for every row: evaluations, residual, converged or not."""
        prediction = self.subject.answer()
        expect_shape("the answer", prediction.logits, (COUNT, self.subject.task.classes))
        wanted = {"nfe": torch.int64, "residual": prediction.logits.dtype, "converged": torch.bool}
        for name, dtype in wanted.items():
            value = getattr(prediction, name)
            expect_shape(f"`{name}`", value, (COUNT,))
            if value.dtype != dtype:
                raise ContractViolation(
                    f"`{name}` of a prediction is {value.dtype}; expected {dtype}: return the "
                    f"solver's account, or one evaluation, residual 0 and True without a solver"
                )

    def test_input_gradient(self) -> None:
        """A finite gradient reaches the input of the function that attacks differentiate."""
        surface = Defended().bind(self.subject.target(), NOISE).surface
        for finding in gradient_findings(surface, self.subject.images.samples()):
            raise ContractViolation(
                f"{finding.name}: {finding.detail}; expected a gradient for every image: return "
                f"differentiable logits from `relaxed`"
            )

    def test_attacked_view(self) -> None:
        """The function that attacks differentiate has the deployed values, to the tolerance."""
        deployed = self.subject.answer().logits
        if not torch.equal(deployed, self.subject.answer(noise=NOISE.child("redraw")).logits):
            return  # the attacker's draws are his own, so only `relaxed` can be held to this
        surface = Defended().bind(self.subject.target(), NOISE).surface
        with same_random_state():
            seen = surface.view(
                self.subject.images.images, self.subject.rows, frozenset({"logits"})
            ).logits
        expect_close(
            deployed, seen, self.subject.tolerance(), "through the surrogate `defended`",
            "let `relaxed` compute what `infer` computes",
        )  # fmt: skip

    def test_relaxed(self) -> None:
        """Its differentiable stand-in `relaxed` has the values of `infer`."""
        with same_random_state():
            x, noise = self.subject.images.images, self.subject.draws()
            relaxed = self.defense.relaxed(self.subject.target(), x, noise)
        expect_close(
            self.subject.answer().logits, relaxed.detach(), self.subject.tolerance(),
            "through `relaxed`", "change the derivative there, never the value",
        )  # fmt: skip

    def test_calibration(self) -> None:
        """Its calibration is plain data that JSON keeps as it is."""
        plain(self.subject.target().calibration, "`calibrate`")


def check_defense(defense: Defense) -> Iterator[tuple[str, str | None]]:
    """Every promise of `DefenseContract` in a sentence, with None or the complaint about it.

    An exception in the defense's own code is a complaint, too, with the line it came from; one that
    was told is not told again. Without a network the promises about it are left out.
    """
    contract = DefenseContract()
    contract.defense = defense
    told: set[str] = set()
    for name, promise in vars(DefenseContract).items():
        if name.startswith("test_"):
            complaint = _complaint(promise, contract)
            repeated = complaint in told
            yield inspect.getdoc(promise) or name, "for the same reason" if repeated else complaint
            told |= {complaint} if complaint else set()
            if complaint and promise is DefenseContract.test_network:
                return


def _complaint(promise: Callable[[DefenseContract], None], contract: DefenseContract) -> str | None:
    try:
        promise(contract)
    except ContractViolation as violation:
        return str(violation)
    except BaseException as error:
        if by_user(error):
            raise
        return contract.subject.explain(error)
    return None
