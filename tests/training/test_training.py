"""Training: resumed bit for bit, deaf to the global generator, and its weights safe on disk."""

from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from typing import ClassVar

import pytest
import torch

from robustdeq.defenses.base import Card, DefendedModel, Defense, Wrapper
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.state_ensemble import StateEnsemble
from robustdeq.defenses.trades import Trades
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import CheckpointError, SpecError
from robustdeq.noise import NoiseStream
from robustdeq.results.store.result_store import ResultStore
from robustdeq.testing.toys import TASK, tiny_deq, toy_data, toy_images
from robustdeq.threats.linf import Linf
from robustdeq.training import trained as trained_module
from robustdeq.training.central import build, train
from robustdeq.training.state import TrainingState
from robustdeq.training.trained import ensure_trained, find_trained, load_model

CPU = torch.device("cpu")
DATA = toy_data(train=32, held_out=8, test=4)
RECIPE = Recipe(Linf(Fraction(1, 8)), epochs=4, batch_size=16, validate_every=1)


@dataclass(frozen=True)
class Remembers(Wrapper):
    """Keeps every image's perturbation across epochs, as free adversarial training does."""

    card: ClassVar[Card] = Card("Remembers", "by hand")

    def craft(self, target, batch, noise, memory):
        delta = memory.get("delta", torch.zeros(len(DATA.train), *TASK.shape)).clone()
        delta[batch.rows] += 0.05 * (noise.uniform(TASK.shape) - 0.5)
        memory["delta"] = delta
        return batch.threat.project(batch.x + delta[batch.rows], batch.x)


@dataclass(frozen=True)
class Undefined(Wrapper):
    """A loss that is NaN."""

    card: ClassVar[Card] = Card("Undefined", "by hand")

    def objective(self, target, batch, x_adv, noise):
        return torch.nan * self.base.objective(target, batch, x_adv, noise)


@dataclass(frozen=True)
class Twice(Wrapper):
    """An inference defense: twice the logits."""

    stage: ClassVar[str] = "inference"
    card: ClassVar[Card] = Card("Twice", "by hand")

    def calibrate(self, target, held_out, noise):
        return {"factor": 2.0, "images": len(held_out.x)}

    def infer(self, target, x, noise):
        answer = self.base.infer(target, x, noise)
        return replace(answer, logits=target.calibration["factor"] * answer.logits)


def test_an_inference_defense_that_its_base_cannot_carry_is_refused_before_training(tmp_path):
    store = ResultStore(tmp_path)
    entrant = Entrant(StateEnsemble(Explicit()), RECIPE, data=DATA.training_digest())
    with pytest.raises(SpecError, match="needs the states of an equilibrium network"):
        ensure_trained(store, entrant, DATA, CPU)
    assert not list(tmp_path.rglob("*.safetensors"))


def weights(model):
    return model.state_dict()


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class TestTraining:
    CHAINS = (Trades(base=Vanilla(channels=8)), Remembers(base=Explicit(channels=8, blocks=1)))

    @pytest.mark.parametrize("defense", CHAINS, ids=lambda d: d.chain)
    def test_an_interrupted_training_ends_with_bitwise_the_weights_of_a_whole_one(
        self, defense, tmp_path, monkeypatch
    ):
        entrant, resume = Entrant(defense, RECIPE), tmp_path / "unfinished.safetensors"
        whole, whole_log = train(entrant, DATA, CPU)
        save = TrainingState.save

        def killed_after_two_epochs(state, path):
            save(state, path)
            if state.epoch == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "save", killed_after_two_epochs)
            with pytest.raises(KeyboardInterrupt):
                train(entrant, DATA, CPU, resume)
        rest, rest_log = train(entrant, DATA, CPU, resume)
        assert_same(weights(whole), weights(rest))
        facts = [[{**row, "images_per_second": 0} for row in log] for log in (whole_log, rest_log)]
        assert facts[0] == facts[1]
        assert [row["epoch"] for row in rest_log] == [1, 2, 3, 4]

    def test_the_global_generator_is_neither_read_nor_moved(self):
        entrant = Entrant(Trades(base=Explicit(channels=8, blocks=1)), replace(RECIPE, epochs=1))
        found = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            found.append(weights(train(entrant, DATA, CPU)[0]))
            assert torch.equal(torch.get_rng_state(), before)
        assert_same(*found)

    def test_another_training_seed_is_another_network(self):
        first, second = (build(Entrant(Explicit(), seed=seed), TASK) for seed in (0, 1))
        assert not torch.equal(*(next(model.parameters()) for model in (first, second)))

    def test_the_test_images_are_never_read(self):
        entrant = Entrant(Explicit(channels=8, blocks=1), RECIPE)
        other = replace(DATA, test=toy_images(4, seed=9))
        models = [train(entrant, data, CPU)[0] for data in (DATA, other)]
        assert_same(*map(weights, models))

    def test_the_result_is_frozen_in_evaluation_mode_and_has_learnt(self):
        recipe = replace(RECIPE, epochs=6)
        model, log = train(Entrant(Vanilla(channels=8), recipe), DATA, CPU)
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        assert log[-1]["loss"] < log[0]["loss"]
        assert max(row["clean"] for row in log) == 1.0
        assert all(row["robust"] <= row["clean"] for row in log)

    def test_the_weights_of_the_best_look_are_kept(self):
        model = tiny_deq()
        state = TrainingState(model, torch.optim.AdamW(model.parameters()))
        for score, value in ((0.5, 1.0), (0.9, 2.0), (0.7, 3.0)):
            model.inject[0].bias.data.fill_(value)
            state.keep_best(score)
        assert (state.best["inject.0.bias"] == 2.0).all()

    def test_a_loss_that_is_no_number_stops_with_the_epoch_and_the_learning_rate(self):
        entrant = Entrant(Undefined(base=Explicit(channels=8, blocks=1)), RECIPE)
        with pytest.raises(SpecError, match=r"diverged in epoch 0: .* rate \(0.003\)"):
            train(entrant, DATA, CPU)

    def test_a_recipe_without_a_threat_is_refused(self):
        with pytest.raises(SpecError, match="explicit: the recipe names no threat"):
            train(Entrant(Explicit()), DATA, CPU)

    def test_a_damaged_state_is_refused_and_says_what_to_do(self, tmp_path):
        resume = tmp_path / "unfinished.safetensors"
        resume.write_bytes(b"half a file")
        entrant = Entrant(Explicit(channels=8, blocks=1), RECIPE)
        with pytest.raises(CheckpointError, match=r"cannot be continued .*; delete it to train"):
            train(entrant, DATA, CPU, resume)

    def test_the_learning_rate_rises_to_its_peak_and_falls_to_nearly_zero(self):
        rates = [RECIPE.rate(step, 100) for step in range(100)]
        assert max(rates) == RECIPE.learning_rate == rates[20]
        assert rates[:21] == sorted(rates[:21])
        assert rates[20:] == sorted(rates[20:], reverse=True)
        assert 0 < rates[-1] < 1e-3 * RECIPE.learning_rate


class TestTrained:
    BASE = Explicit(channels=8, blocks=1)

    @pytest.fixture
    def store(self, tmp_path):
        return ResultStore(tmp_path)

    @pytest.fixture
    def entrant(self):
        recipe = replace(RECIPE, epochs=2)
        return Entrant(self.BASE, recipe, data=DATA.training_digest())

    def test_an_entrant_is_trained_once_and_loaded_with_its_weights(
        self, store, entrant, monkeypatch
    ):
        first = ensure_trained(store, entrant, DATA, CPU)
        monkeypatch.setattr(trained_module, "train", None)  # a second training would crash
        assert ensure_trained(store, entrant, DATA, CPU) == first
        target = load_model(store, entrant, TASK, CPU)
        path = store.checkpoints / f"{entrant.id}.safetensors"
        assert sha256(path.read_bytes()).hexdigest() == first.checkpoint
        assert not target.classifier.training
        assert not list(store.entrants.rglob("unfinished*"))

    def test_an_inference_defense_shares_the_weights_of_its_base(self, store, entrant):
        base = ensure_trained(store, entrant, DATA, CPU)
        outer = replace(entrant, defense=Twice(base=self.BASE))
        found = ensure_trained(store, outer, DATA, CPU)
        assert found.checkpoint == base.checkpoint
        assert found.calibration == {"factor": 2.0, "images": len(DATA.held_out)}
        assert len(list(store.checkpoints.iterdir())) == 1
        target: DefendedModel = load_model(store, outer, TASK, CPU)
        x, rows = DATA.test.images, torch.arange(len(DATA.test))
        plain = load_model(store, entrant, TASK, CPU)
        answers = [t.predict(x, rows, NoiseStream(0)).logits for t in (target, plain)]
        assert torch.equal(answers[0], 2.0 * answers[1])

    def test_an_untrained_entrant_is_named_with_the_command_that_trains_it(self, store, entrant):
        assert find_trained(store, entrant) is None
        with pytest.raises(CheckpointError, match=r"explicit seed 0 is not trained .*`robustdeq"):
            load_model(store, entrant, TASK, CPU)

    def test_a_damaged_entry_is_named(self, store, entrant):
        ensure_trained(store, entrant, DATA, CPU)
        entry = store.entrants / entrant.id / "entrant.json"
        entry.write_text(entry.read_text()[:40])
        with pytest.raises(CheckpointError, match=r"entrant.json is damaged .*; delete it"):
            find_trained(store, entrant)

    def test_training_defenses_cannot_wrap_inference_ones(self):
        with pytest.raises(SpecError, match="inference wrappers stand outermost"):
            Trades(base=Twice(base=Defense.from_text("explicit")))
