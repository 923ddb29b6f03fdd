"""Cheap adversarial training: the safeguard fires, perturbations are kept, resumed bit for bit."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from robustdeq.attacks.base import Attack
from robustdeq.defenses.base import Batch, DefendedModel
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.fgsm_training import BATCHES, GAP, FgsmTraining
from robustdeq.defenses.persistent_training import KEPT, VISITS, PersistentTraining
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.testing.toys import tiny_deq, toy_data, toy_images
from robustdeq.threats.l2 import L2
from robustdeq.threats.linf import Linf
from robustdeq.training.central import train
from robustdeq.training.state import TrainingState

BASE, CPU = Explicit(channels=8, blocks=1), torch.device("cpu")
MODEL = tiny_deq()


@dataclass(frozen=True)
class Blend(Attack):
    """Moves every image towards the next one, `strength` of the way; 0 leaves all as they are."""

    strength: float = 1.0

    def run(self, search):
        x = search.samples.images
        search.put_forward(torch.lerp(x, x.roll(1, 0), self.strength))


def batch(rows=range(12), threat=None):
    """Images with the labels that the network gives them, so that its clean accuracy is 1."""
    rows, images = torch.tensor(rows), toy_images(16).images
    x = images[rows]
    return Batch(x, MODEL.predict(x).labels, rows, threat or Linf(Fraction(1, 32)))


def craft(defense, asked, memory, epoch=0):
    noise = NoiseStream(0).child("epoch", epoch).at(asked.rows)
    return defense.craft(DefendedModel(defense, MODEL, {}), asked, noise, memory)


class TestOneStep:
    def test_it_goes_a_whole_step_from_a_random_start_and_back_into_the_threat_set(self):
        for threat in (Linf(Fraction(1, 8)), L2(Fraction(1, 2))):
            asked = batch(threat=threat)
            x = craft(FgsmTraining(BASE, strong=Blend(0.0)), asked, {})
            assert threat.contains(asked.x, x).all()
            assert threat.distance(asked.x, x).median() > 0.9 * float(threat.eps)

    def test_most_images_lie_higher_on_the_loss_than_where_they_started(self):
        asked = batch(threat=Linf(Fraction(1, 8)))
        x = craft(FgsmTraining(BASE, strong=Blend(0.0)), asked, {})
        draws = NoiseStream(0).child("epoch", 0).child("craft")
        start = asked.threat.random_start(asked.x, asked.rows, draws)
        before, after = (
            torch.nn.functional.cross_entropy(MODEL(image), asked.y, reduction="none")
            for image in (start, x)
        )
        assert (after > before).double().mean() > 0.9

    def test_the_safeguard_fires_when_the_strong_attack_finds_what_the_step_does_not(self):
        # At a radius of 1e-6 the step changes no label; a blended image is often another class's.
        asked, memory = batch(threat=Linf(Fraction(1, 10**6))), {}
        defense = FgsmTraining(BASE, strong=Blend(1.0), every=3, margin=0.1)
        blended = asked.x.roll(1, 0)
        fooled = (MODEL.predict(blended).labels != asked.y).double().mean()
        assert fooled > defense.margin
        for _ in range(3):  # the batch of the comparison, and those until the next
            assert torch.equal(craft(defense, asked, memory), blended)
        assert memory[GAP] == pytest.approx(float(fooled))

    def test_it_stands_down_at_the_first_comparison_without_a_gap(self):
        asked = batch(threat=Linf(Fraction(1, 10**6)))
        memory = {BATCHES: torch.tensor(5), GAP: torch.tensor(0.9)}
        defense = FgsmTraining(BASE, strong=Blend(0.0), every=3)
        assert torch.equal(craft(defense, asked, memory), asked.x)  # still the strong attack's
        quick = craft(defense, asked, memory)
        assert memory[GAP] == 0.0
        assert not torch.equal(quick, asked.x)
        assert torch.equal(craft(defense, asked, memory), quick)

    def test_between_comparisons_the_strong_attack_is_not_run(self):
        @dataclass(frozen=True)
        class Never(Attack):
            def run(self, search):
                raise AssertionError("asked for")

        memory = {BATCHES: torch.tensor(1), GAP: torch.tensor(0.1)}
        craft(FgsmTraining(BASE, strong=Never(), every=2), batch(), memory)
        assert memory[BATCHES] == 2
        with pytest.raises(AssertionError, match="asked for"):
            craft(FgsmTraining(BASE, strong=Never(), every=2), batch(), memory)


class TestPersistence:
    DEFENSE = PersistentTraining(BASE, steps=2, step=Fraction(1, 8), reset=3)
    REACH = 2 / 8 / 32  # how far a visit moves a pixel

    def test_a_visit_goes_on_from_where_the_last_one_ended(self):
        asked, memory = batch(), {}
        first = craft(self.DEFENSE, asked, memory)
        assert torch.equal(memory[KEPT][asked.rows], first - asked.x)
        second = craft(self.DEFENSE, asked, memory, epoch=1)
        assert (second - first).abs().max() <= self.REACH + 1e-6
        assert not torch.equal(second, first)

    def test_every_so_many_visits_it_starts_anew(self):
        asked, memory = batch(), {}
        found = [craft(self.DEFENSE, asked, memory, epoch) for epoch in range(4)]
        moved = [(b - a).abs().max().item() for a, b in pairwise(found)]
        assert max(moved[:2]) <= self.REACH + 1e-6
        assert moved[2] > 2 * self.REACH
        assert torch.equal(found[3], craft(self.DEFENSE, asked, {}, epoch=3))

    def test_rows_keep_their_own_perturbations_and_count_their_own_visits(self):
        together, apart = {}, {}
        craft(self.DEFENSE, batch(), together)
        for rows in (range(9, 12), range(3), range(3, 9)):
            craft(self.DEFENSE, batch(rows), apart)
        torch.testing.assert_close(together[KEPT], apart[KEPT])
        craft(self.DEFENSE, batch([3, 5]), apart)
        assert apart[VISITS].tolist() == [1, 1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1]

    def test_strength_adds_up_over_visits(self):
        asked, memory = batch(threat=Linf(Fraction(1, 8))), {}
        losses = [
            torch.nn.functional.cross_entropy(MODEL(x), asked.y).item()
            for x in (craft(self.DEFENSE, asked, memory) for _ in range(3))
        ]
        assert losses == sorted(losses)


DATA = toy_data(train=32, held_out=8, test=4)
RECIPE = Recipe(Linf(Fraction(1, 8)), epochs=4, batch_size=16, validate_every=1)


class TestResumed:
    # Margin 0, so that the safeguard may stand when the training is cut; reset within the rest.
    CHAINS = (
        FgsmTraining(BASE, every=3, margin=0.0),
        PersistentTraining(Vanilla(channels=8), steps=1, reset=3),
    )

    @pytest.mark.parametrize("defense", CHAINS, ids=lambda defense: defense.chain)
    def test_an_interrupted_training_ends_with_bitwise_the_same_weights_and_memory(
        self, defense, tmp_path, monkeypatch
    ):
        saved, save = [], TrainingState.save

        def record(state, path):
            save(state, path)
            saved.append({name: value.clone() for name, value in state.memory.items()})
            if len(saved) == 6:  # the second training, after its second epoch
                raise KeyboardInterrupt

        monkeypatch.setattr(TrainingState, "save", record)
        entrant, paths = Entrant(defense, RECIPE), [tmp_path / "whole", tmp_path / "cut"]
        whole, _ = train(entrant, DATA, CPU, paths[0])
        with pytest.raises(KeyboardInterrupt):
            train(entrant, DATA, CPU, paths[1])
        rest, _ = train(entrant, DATA, CPU, paths[1])
        assert saved[3].keys() == saved[7].keys() != set()
        for first, second in ((saved[3], saved[7]), (whole.state_dict(), rest.state_dict())):
            for name, value in first.items():
                assert torch.equal(value, second[name]), name


BAD = (
    (FgsmTraining, {"step": Fraction(0)}, "fgsm-training: step 0,"),
    (FgsmTraining, {"every": 0}, "every 0,"),
    (FgsmTraining, {"margin": 1.0}, r"margin 1.0; expected a positive step"),
    (PersistentTraining, {"steps": 0}, "persistent-training: steps 0,"),
    (PersistentTraining, {"step": Fraction(-1, 4)}, "step -1/4,"),
    (PersistentTraining, {"reset": 0}, "reset 0; expected steps >= 1"),
)


@pytest.mark.parametrize(("kind", "fields", "complaint"), BAD, ids=lambda value: str(value)[:20])
def test_bad_fields_are_refused(kind, fields, complaint):
    with pytest.raises(SpecError, match=complaint):
        kind(BASE, **fields)
