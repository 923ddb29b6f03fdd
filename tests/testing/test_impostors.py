"""Impostors look robust, keep their promise about labels, and raise the flag they are named for."""

from fractions import Fraction

import pytest
import torch

from benchmarks.impostor_flags import Seen, raised_flags
from benchmarks.reference_attacks import opened, reference_attack
from robustdeq.audits.gradient import Gradient
from robustdeq.audits.logit_scale import LogitScale
from robustdeq.audits.lookup import Lookup
from robustdeq.data.digits import Digits
from robustdeq.evaluation.judge import Judge
from robustdeq.noise import NoiseStream
from robustdeq.notebook import load_model
from robustdeq.results.flags import find_flag
from robustdeq.samples import Samples
from robustdeq.testing.impostors import ZOO
from robustdeq.testing.impostors.appearance import naive_attack
from robustdeq.threats.linf import Linf

N = 50
LINF = Linf(Fraction(3, 16))
ROWS = torch.arange(N)
# The audits that can raise a flag; what is not here is found by a trial's own checks.
AUDITS = {
    "gradient-misaligned": (Gradient(images=12, directions=6, middle=2),),
    "logit-scale": (LogitScale(images=N),),
    "memorized": (Lookup(images=25),),
}
FORMS = [(impostor, form) for impostor in ZOO for form in impostor.forms]
IDS = [f"{impostor.name}-{form.name}" for impostor, form in FORMS]


@pytest.fixture(scope="module")
def twin():
    return load_model("vanilla", "results")


@pytest.fixture(scope="module")
def test_images():
    return Digits().load().test.take(N)


def right(target, x, y):
    """How many of one batch's single answers are right: what a trusting evaluator reads."""
    return int((target.predict(x, ROWS, NoiseStream(1)).labels == y).sum())


@pytest.fixture(scope="module")
def fooled(twin, test_images):
    """How many images plain PGD leaves the undefended twin."""
    x, y = test_images.images, test_images.labels
    return right(twin, naive_attack(twin, x, y, LINF), y)


def test_there_are_ten_kinds_and_their_flags_are_on_the_list():
    assert len({impostor.name for impostor in ZOO}) == len(ZOO) >= 10
    for impostor, form in FORMS:
        assert find_flag(form.flag).name == form.flag
        if impostor.keeps_labels:
            assert [each.name for each in impostor.forms] == ["wrapped", "alone"]


@pytest.mark.slow
@pytest.mark.parametrize(("impostor", "form"), FORMS, ids=IDS)
class TestImpostors:
    def test_it_looks_robust_and_raises_its_flag(self, impostor, form, twin, test_images, fooled):
        x, y = test_images.images, test_images.labels
        target = form.make(twin)
        adversarial = naive_attack(target, x, y, LINF)
        if impostor.deceives:
            assert right(target, adversarial, y) >= fooled + N // 2
        samples = Samples(x, y, ROWS)
        judge, seen = Judge(form.make(twin), N), Seen(samples, samples.moved(adversarial), LINF)
        copies = (form.make(twin), judge, Judge(form.make(twin), N))
        raised = raised_flags(*copies, seen, AUDITS.get(form.flag, ()))
        assert form.flag in raised

    def test_it_keeps_every_label_where_it_says_so(self, impostor, form, twin, test_images):
        x, y = test_images.images, test_images.labels
        samples = Samples(x, y, ROWS)
        own, honest = Judge(form.make(twin), N)(samples), Judge(twin, N)(samples)
        if impostor.keeps_labels:
            assert torch.equal(own.labels, honest.labels)
            assert torch.equal(own.right, honest.right)
        # What defends nothing costs next to nothing: nobody would believe the others.
        assert int(own.right.sum()) >= int(honest.right.sum()) - N // 5


def test_the_reference_attack_leaves_the_twin_nothing_but_stays_in_its_ball(twin, test_images):
    x, y = test_images.images, test_images.labels

    def score(candidates):
        return (twin.predict(candidates, ROWS, NoiseStream(0)).labels == y).float()

    found = reference_attack(opened(twin.classifier)["twin"], score, x, y, 3 / 16, gradients=250)
    assert LINF.contains(x, found).all()
    assert score(found).mean() <= 0.1


def test_each_impostor_that_changes_the_function_has_its_reference(twin):
    known = opened(twin.classifier)
    assert {each.name for each in ZOO if not each.keeps_labels} == set(known) - {"twin"}
