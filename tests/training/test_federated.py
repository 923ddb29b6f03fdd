"""Federated training: what fusing promises, and rounds that go on bit for bit."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.explicit import Explicit
from robustdeq.defenses.federated import Federated
from robustdeq.defenses.fusion import FUSIONS, Report, effective_clients, fusion_weights
from robustdeq.defenses.persistent_training import PersistentTraining
from robustdeq.defenses.trades import Trades
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.errors import SpecError, UnknownName
from robustdeq.testing.toys import TASK, tiny_deq, toy_data
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build
from robustdeq.training.clients import Update, Work, client_update, cut, make_clients, shares
from robustdeq.training.fusion import fuse, size_in_bytes
from robustdeq.training.loops.base import train
from robustdeq.training.state import TrainingState

CPU = torch.device("cpu")
DATA = toy_data(train=32, held_out=8, test=4)
RECIPE = Recipe(Linf(Fraction(1, 8)), epochs=3, batch_size=8)
BASE = Vanilla(channels=8)
SMALL = Federated(base=BASE, clients=3, rounds=3, budgets=(1, 4, 60))
every_rule = pytest.mark.parametrize("rule", FUSIONS)


def updates(budgets, seed=0):
    """Networks that differ, of clients that own 5, 6, 7, ... images."""
    return [
        Update(
            Report(number, 5 + number, budget, residual=0.3 / (budget + number)),
            {**tiny_deq(seed=seed + number).state_dict(), "count": torch.tensor(number)},
            1.0,
        )
        for number, budget in enumerate(budgets)
    ]


def trained(defense, data=DATA, recipe=RECIPE, resume=None):
    model, log = train(Entrant(defense, recipe), data, CPU, resume)
    return model.state_dict(), log


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class TestFusion:
    @every_rule
    @pytest.mark.parametrize("by_images", [True, False])
    def test_weights_sum_to_one_and_are_worth_at_most_all_clients(self, rule, by_images):
        reports = [update.report for update in updates((1, 2, 8, 60))]
        weights = fusion_weights(reports, FUSIONS[rule], by_images)
        assert min(weights) > 0
        assert sum(weights) == pytest.approx(1, abs=1e-15)  # four roundings of float64
        assert 1 <= effective_clients(weights) <= 4 + 1e-12

    @every_rule
    def test_equal_budgets_give_the_bits_of_fedavg(self, rule):
        equal = updates((7, 7, 7))
        assert_same(fuse(equal, FUSIONS[rule]), fuse(equal, FUSIONS["fedavg"]))

    @every_rule
    def test_the_order_of_arrival_changes_no_bit(self, rule):
        arrived = updates((1, 4, 60, 4))
        shuffled = [arrived[i] for i in (2, 0, 3, 1)]
        assert_same(fuse(arrived, FUSIONS[rule]), fuse(shuffled, FUSIONS[rule]))

    @every_rule
    def test_one_client_is_what_it_sent(self, rule):
        (only,) = updates((3,))
        assert_same(fuse([only], FUSIONS[rule]), only.weights)

    def test_the_rules_are_their_formulas(self):
        reports = [Report(0, 10, 1, 0.4), Report(1, 30, 3, 0.1)]
        known = {
            "fedavg": 10 / 40,
            "iterations": 10 / (10 + 90),
            "saturating": 10 * 0.3 / (10 * 0.3 + 30 * (1 - 0.7**3)),
            "residual": (10 / 0.401) / (10 / 0.401 + 30 / 0.101),
        }
        for rule, weight in known.items():
            assert fusion_weights(reports, FUSIONS[rule])[0] == pytest.approx(weight), rule
        assert fusion_weights(reports, FUSIONS["iterations"], by_images=False)[0] == 0.25
        assert effective_clients([0.25, 0.75]) == 1.6

    def test_a_fused_tensor_is_the_mean_and_counts_are_not_averaged(self):
        sent = updates((1, 1, 1))
        fused = fuse(sent, FUSIONS["fedavg"])
        name = "inject.0.bias"
        mean = sum(n * u.weights[name].double() for n, u in zip((5, 6, 7), sent, strict=True)) / 18
        assert torch.allclose(fused[name].double(), mean, atol=1e-7)  # one rounding to float32
        assert fused["count"].dtype == torch.int64
        assert fused["count"] == 2


class TestSteps:
    @pytest.mark.parametrize("images", [[32], [10, 20, 2], [7, 7, 7, 7, 7]])
    def test_the_steps_of_a_central_training_are_shared_out(self, images):
        rounds = shares(images, steps=200, rounds=4)
        assert len(rounds) == 4
        assert sum(map(sum, rounds)) == 200
        assert all(len(row) == len(images) and min(row) >= 1 for row in rounds)

    def test_every_client_takes_a_step_in_every_round(self):
        assert shares([1, 1], steps=2, rounds=3) == [[1, 1]] * 3

    def test_the_log_counts_the_steps_of_the_control(self):
        recipe = replace(RECIPE, epochs=6)
        _, log = trained(SMALL, recipe=recipe)
        _, control = trained(BASE, recipe=recipe)
        assert control[-1]["epoch"] * -(-len(DATA.train) // recipe.batch_size) == log[-1]["steps"]


class TestClients:
    @pytest.mark.parametrize("alpha", [None, 0.5, 5.0])
    def test_every_image_has_one_owner_for_ever(self, alpha):
        entrant = Entrant(replace(SMALL, alpha=alpha), RECIPE, seed=3)
        first, second = (make_clients(entrant, DATA.train, 4) for _ in range(2))
        assert sorted(torch.cat([c.rows for c in first]).tolist()) == list(range(32))
        assert all(torch.equal(a.rows, b.rows) for a, b in zip(first, second, strict=True))
        other = make_clients(replace(entrant, seed=4), DATA.train, 4)
        assert any(not torch.equal(a.rows, b.rows) for a, b in zip(first, other, strict=True))

    def test_a_small_alpha_skews_the_labels(self):
        data = toy_data(train=400)

        def spread(alpha):
            clients = make_clients(Entrant(replace(SMALL, alpha=alpha)), data.train, 4)
            counts = [torch.bincount(c.images.labels, minlength=4) / len(c.rows) for c in clients]
            return torch.stack(counts).std(0).mean().item()

        assert spread(None) < spread(1000.0) + 0.05 < spread(0.3)

    def test_a_budget_cuts_the_solver_and_leaves_the_servers_network_alone(self):
        network = tiny_deq()
        assert cut(network, 2).deployment().budget == 2
        assert network.deployment().budget == 60
        assert cut(network, None) is network

    def test_a_client_of_few_steps_stops_further_from_its_equilibrium(self):
        _, log = trained(SMALL)
        weak, middle, full = log[-1]["residuals"]
        assert weak > middle > full

    def test_what_is_sent_does_not_depend_on_the_budget(self):
        logs = [trained(replace(SMALL, budgets=b, rounds=1))[1] for b in ((1,), (), (60,))]
        assert len({(log[0]["bytes_up"], log[0]["bytes_down"]) for log in logs}) == 1
        size = size_in_bytes(BASE.build(TASK).state_dict())
        assert logs[0][0]["bytes_up"] == logs[0][0]["bytes_down"] == 3 * size


class TestTraining:
    def test_an_equal_budget_for_all_makes_every_rule_the_same_training(self):
        found = [
            trained(replace(SMALL, budgets=(2,), rounds=2, fusion=rule))[0]
            for rule in ("fedavg", "residual", "iterations")
        ]
        assert_same(found[0], found[1])
        assert_same(found[0], found[2])

    @pytest.mark.parametrize("base", [BASE, PersistentTraining(base=BASE)], ids=lambda d: d.chain)
    def test_an_interrupted_training_ends_with_bitwise_the_weights_of_a_whole_one(
        self, base, tmp_path, monkeypatch
    ):
        defense, resume = replace(SMALL, base=base), tmp_path / "unfinished.safetensors"
        whole, whole_log = trained(defense)
        save = TrainingState.save

        def killed_after_two_rounds(state, path):
            save(state, path)
            if state.epoch == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "save", killed_after_two_rounds)
            with pytest.raises(KeyboardInterrupt):
                trained(defense, resume=resume)
        rest, rest_log = trained(defense, resume=resume)
        assert_same(whole, rest)
        assert whole_log == rest_log
        assert [row["round"] for row in rest_log] == [1, 2, 3]

    def test_one_client_of_the_whole_budget_is_its_own_updates_in_turn(self):
        defense = replace(SMALL, clients=1, rounds=2, budgets=())
        entrant = Entrant(defense, RECIPE)
        (client,) = make_clients(entrant, DATA.train, 4)
        assert len(client.rows) == len(DATA.train)
        _, log = train(entrant, DATA, CPU)
        assert [row["steps"] for row in log] == [6, 12]
        sent = build(entrant, TASK).state_dict()
        for number in range(2):
            work = Work(number, 6 * number, 6, RECIPE.rate(number, 2), number / 2)
            update = client_update(entrant, TASK, client, sent, work, {})
            assert update.loss == log[number]["loss"]
            sent = update.weights


class TestMistakes:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"clients": 0, "budgets": ()}, "clients 0; expected at least 1"),
            ({"rounds": 0}, "rounds 0; expected at least 1"),
            ({"budgets": (1, 2)}, "2 budgets for 3 clients"),
            ({"budgets": (1, 2, 3, 4)}, "4 budgets for 3 clients"),
            ({"budgets": (0,)}, "at least 1 step"),
            ({"fusion": "fedavgg"}, "did you mean 'fedavg'"),
            ({"alpha": 0.0}, r"alpha 0.0; expected at least"),
            ({"alpha": float("nan")}, "alpha nan"),
        ],
    )
    def test_a_wrong_field_is_refused_when_it_is_written(self, fields, message):
        with pytest.raises(SpecError, match=message):
            replace(SMALL, **fields)

    def test_an_unknown_fusion_is_an_unknown_name(self):
        with pytest.raises(UnknownName):
            replace(SMALL, fusion="median")

    @pytest.mark.parametrize(
        ("defense", "message"),
        [
            (replace(SMALL, clients=33, budgets=()), "33 clients for 32 training images"),
            (replace(SMALL, budgets=(61,)), "61 solver steps exceeds the network's own 60"),
            (replace(SMALL, base=Explicit(channels=8, blocks=1)), r"give `budgets = \[\]`"),
            (replace(SMALL, clients=12, budgets=(), alpha=0.05), "without an image"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_any_training(self, defense, message):
        with pytest.raises(SpecError, match=message):
            trained(defense)

    def test_a_recipe_without_a_threat_is_refused(self):
        with pytest.raises(SpecError, match="the recipe names no threat"):
            trained(SMALL, recipe=Recipe())

    def test_a_training_defense_around_it_is_refused_with_the_right_order(self):
        with pytest.raises(SpecError, match="write 'federated/trades/vanilla'"):
            Trades(base=SMALL)

    def test_the_loop_of_a_chain_is_that_of_its_outermost_that_names_one(self):
        assert SMALL.loop == "federated"
        assert AdversarialTraining(base=BASE).loop == BASE.loop == "central"
