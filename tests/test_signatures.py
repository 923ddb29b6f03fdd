"""What the papers promise of their systems, read from the committed records."""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from robustdeq.results.store.result_store import ResultStore

STORE = ResultStore(Path(__file__).parents[1] / "results")
NETWORKS = ("vanilla", "adversarial-training/vanilla", "trades/vanilla")


@cache
def column(chain, name):
    """The finished records of one column, all training seeds."""
    found = [r for r in STORE.scan({"entrant.chain": chain}) if r.column["name"] == name]
    done = [r for r in found if r.status == "done"]
    assert done, f"no record of {chain}, {name}"
    return done


def slow_down(chain):
    """Evaluations on attacked images over those on clean ones, by training seed; and the most."""
    tables = [
        STORE.samples(r, ["nfe_clean", "nfe_adv"]).to_pandas() for r in column(chain, "slow-down")
    ]
    return [t.nfe_adv.mean() / t.nfe_clean.mean() for t in tables], max(
        t.nfe_adv.max() for t in tables
    )


def profile(record, attacked):
    """Entropy by state judged, in the order of the states; the answer is the last."""
    states = STORE.table(record, "states").to_pandas()
    rows = states[states.attacked == attacked]
    return pd.concat([rows[rows.judged.notna()].sort_values("judged"), rows[rows.judged.isna()]])


class TestMonotone:
    """Winston and Kolter 2020: one equilibrium, and a contraction proved for every input."""

    @pytest.mark.parametrize("chain", ["monotone", "adversarial-training/monotone"])
    def test_no_attack_slows_its_solver(self, chain):
        factors, most = slow_down(chain)
        assert max(factors) < 1.25
        assert most < 30

    def test_what_a_free_network_suffers_is_far_more(self):
        monotone, _ = slow_down("adversarial-training/monotone")
        free, _ = slow_down("adversarial-training/vanilla")
        assert min(free) > 1.3 * max(monotone)


class TestDynamics:
    """Yang, Li, Pang, Liu 2023, section 3: what happens to the entropy along the states."""

    @pytest.mark.parametrize("chain", NETWORKS)
    def test_it_falls_from_the_first_state_to_the_answer(self, chain):
        for record in column(chain, "state-map"):
            entropy = profile(record, "clean").entropy.tolist()
            assert entropy[1] > entropy[2] > entropy[-1]

    @pytest.mark.parametrize("chain", NETWORKS)
    def test_an_attack_raises_it_at_the_answer(self, chain):
        for record in column(chain, "state-map"):
            clean, attacked = (
                profile(record, name).entropy.tolist() for name in ("clean", "defended")
            )
            assert attacked[-1] > clean[-1]


class TestRandomStates:
    """Yang, Li, Pang, Liu 2023, section 3.3: the accuracy along the states becomes even."""

    @staticmethod
    def unevenness(chain):
        """Points between the most and the least robust state from z_2 on, mean over seeds."""
        ranges = []
        for record in column(chain, "state-map"):
            states = profile(record, "defended")
            robust = states[~(states.judged < 2)].accuracy
            ranges.append(100 * (robust.max() - robust.min()))
        return sum(ranges) / len(ranges)

    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced on digits: 4.0 points with random states, 2.8 without",
    )
    def test_it_is_more_even_than_the_base_has_it(self):
        assert self.unevenness("trades/random-states/vanilla") < self.unevenness("trades/vanilla")

    def test_it_is_even_already_where_the_base_stands(self):
        assert self.unevenness("trades/vanilla") < 5


def page(name):
    """The cells of a committed page's tables, line by line."""
    text = (STORE.reports / f"{name}.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def claimed(name, claim):
    """The verdict on a claim where the page makes it first."""
    return next(row[-1] for row in page(name) if row[0] == claim)


class TestSparseMasks:
    """Song, Majumder, Lin 2023: a mask for each application against one for all."""

    def test_distinct_masks_fit_better_than_a_shared_one(self):
        claim = "distinct below one shared mask: mean of the above"
        assert claimed("capacity", claim) == "appears"

    @pytest.mark.xfail(
        strict=True,
        reason="reversed at 8 channels: without a mask the training loss is 0.049 lower",
    )
    def test_they_fit_better_than_no_mask(self):
        assert claimed("capacity", "distinct below no mask: mean of the above") == "appears"


class TestJacobianPenalty:
    """Bai, Koltun and Kolter 2021: a regularised MDEQ converges, and can be stopped early."""

    EACH = ("penalty of a quarter of the rows", "penalty at every step")

    @pytest.mark.parametrize("network", EACH)
    def test_it_brings_the_deployed_solve_closer_to_its_end(self, network):
        claim = f"{network}: decades of residual below no penalty, whole budget"
        assert claimed("early-stop", claim) == "appears"

    @pytest.mark.parametrize("network", EACH)
    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced over five seeds: 0.6 and 0.5 points less lost at 6 steps, intervals "
        "-1.2 to 2.4 and -0.8 to 1.8",
    )
    def test_stopping_at_six_steps_costs_less(self, network):
        claim = f"{network}: loses less than no penalty at 6 steps"
        assert claimed("early-stop", claim) == "appears"

    def test_at_six_steps_it_is_more_accurate_with_the_penalty_at_every_step(self):
        claim = "penalty at every step: points above no penalty at 6 steps"
        assert claimed("early-stop", claim) == "appears"


class TestJacobianPair:
    """The same of the stock cell, 18 steps declared as the model, adversarially trained."""

    @staticmethod
    def right(chain, step):
        """The share of clean images that are right after a step, or at the end, by seed."""
        found = {}
        for record in column(chain, "state-map"):
            if "fixed-depth" in str(record.entrant["defense"]):
                states = profile(record, "clean")
                rows = states.judged.isna() if step is None else states.judged == step
                found[record.entrant["seed"]] = states[rows].accuracy.item()
        return found

    def loss(self, chain, step):
        """Points lost by stopping after a step, mean over the training seeds."""
        end, early = self.right(chain, None), self.right(chain, step)
        assert len(end) == 3
        return 100 * sum(end[seed] - early[seed] for seed in end) / len(end)

    def test_stopping_after_one_step_costs_less(self):
        chains = "adversarial-training/vanilla", "adversarial-training/jacobian-penalty/vanilla"
        plain, penalised = (self.loss(chain, 1) for chain in chains)
        assert plain > 3 * penalised > 0

    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced on digits: at 6 of 18 steps neither of the two loses anything",
    )
    def test_stopping_after_a_third_of_the_budget_costs_less(self):
        assert self.loss("adversarial-training/vanilla", 6) > 0.5


class TestEarlyState:
    """Yang, Pang and Liu 2022: an early state withstands more than the equilibrium."""

    @staticmethod
    def held_out():
        """The robust accuracy of each candidate state, by training seed."""
        chain = "early-state/adversarial-training/vanilla"
        paths = sorted((STORE.root / "entrants").glob("*/entrant.json"))
        facts = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        found = [each["calibration"]["robust"] for each in facts if each["chain"] == chain]
        assert len(found) == 3
        return found

    @pytest.mark.xfail(
        strict=True, reason="not reproduced on digits: it rises up to the sixth state or the eighth"
    )
    def test_the_most_robust_state_is_an_early_one(self):
        assert all(max(robust, key=robust.get) in "1234" for robust in self.held_out())

    def test_robust_accuracy_rises_along_the_first_states(self):
        for robust in self.held_out():
            assert robust["1"] < robust["2"] < robust["3"] < robust["8"]


class TestStateEnsemble:
    """Yang, Pang and Liu 2022: the average of the states withstands more than the last one."""

    CHAIN = "state-ensemble/adversarial-training/vanilla"

    def left(self, view):
        """What the same attack leaves through one view, by training seed."""
        return {r.entrant["seed"]: r.robust for r in column(self.CHAIN, f"adaptive: {view}")}

    def test_an_attack_that_does_not_go_through_the_average_leaves_more(self):
        around, through = self.left("undefended"), self.left("straight-through")
        assert len(around) == 3
        assert all(around[seed] > through[seed] + 0.03 for seed in around)

    def test_it_withstands_more_than_the_last_state(self):
        text = (STORE.boards / "digits-linf-v2.json").read_text(encoding="utf-8")
        (pair,) = [p for p in json.loads(text)["controlled"] if p["a"] == self.CHAIN]
        assert pair["interval"][0] > 0


class TestEntropyReduction:
    """Yang, Li, Pang and Liu 2023, section 3.2: the input moves until the prediction is sure."""

    @pytest.mark.parametrize("inputs", ["clean", "made for the base"])
    def test_updates_lower_the_entropy_of_the_answer_and_their_opposites_raise_it(self, inputs):
        assert claimed("entropy", f"lower: entropy below no updates, {inputs}") == "appears"
        assert claimed("entropy", f"raise: entropy above no updates, {inputs}") == "appears"

    def test_it_is_right_on_more_inputs_that_were_made_for_the_network_without_it(self):
        assert claimed("entropy", "lower: points above no updates, made for the base") == "appears"

    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced over three seeds: 7 points more, interval -2 to 16",
    )
    def test_it_is_right_on_more_inputs_that_were_made_for_itself(self):
        claim = "lower: points above no updates, made for itself"
        assert claimed("entropy", claim) == "appears"


class TestFederated:
    """Gkillas, Ampeliotis, Berberidis 2023: what unequal clients send until they are robust."""

    @staticmethod
    def lines():
        """The cells of each network and rule of fusion."""
        return {(row[0], row[1]): row for row in page("federated")[1:] if len(row) == 9}

    def test_weights_by_iterations_leave_fewer_effective_clients_and_no_gain(self):
        lines = self.lines()
        fedavg, iterations = (lines["stock DEQ", rule] for rule in ("fedavg", "iterations"))
        assert float(iterations[2].split()[0]) < 2 < float(fedavg[2].split()[0])
        assert float(iterations[8].split()[0]) < float(fedavg[8].split()[0])

    @pytest.mark.xfail(
        strict=True,
        reason="reversed: an explicit network of 8 channels reaches the target for 0.8 MB, 3.6 the "
        "DEQ",
    )
    def test_an_equilibrium_network_takes_fewer_bytes_than_the_smallest_explicit_one(self):
        lines = self.lines()
        explicit = [float(row[6].split()[0]) for key, row in lines.items() if "explicit" in key[0]]
        assert float(lines["stock DEQ", "fedavg"][6].split()[0]) < min(explicit)


class TestLyapunov:
    """Chu et al. 2024: stability against what perturbs the network."""

    def test_the_start_of_the_solver_has_hardly_a_say(self):
        flips = [float(row[4]) for row in page("lyapunov") if row[3] in ("random", "worst")]
        assert len(flips) == 24
        assert max(flips) <= 2.0

    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced: 3.1 points over all heads after a second look (-0.04 to 6.2)",
    )
    def test_the_projection_makes_a_clean_trained_network_robust(self):
        assert claimed("lyapunov", "clean: module on above off, all heads") == "appears"


class TestJointIteration:
    """Gurumurthy, Bai, Manchester, Kolter 2021: as strong as PGD with exact solves, and cheaper."""

    @staticmethod
    def lines(cell):
        """Ours, and that of the strongest PGD, of the committed page."""
        rows = [row for row in page("joint") if row[0] == cell]
        (best,) = [row for row in rows if "the best" in row[1]]
        return rows[0], best

    @pytest.mark.parametrize("cell", ["slow", "stock"])
    def test_it_takes_less_than_a_quarter_of_the_evaluations(self, cell):
        ours, best = self.lines(cell)
        assert float(best[4]) > 4 * float(ours[4])

    @pytest.mark.parametrize("cell", ["slow", "stock"])
    @pytest.mark.xfail(
        strict=True,
        reason="not reproduced: PGD leaves 2.9 points less on the slow cell, 3.7 on the stock one",
    )
    def test_it_is_at_least_as_strong(self, cell):
        ours, _ = self.lines(cell)
        assert ours[-1] == "yes"

    def test_training_with_it_is_equivalent_to_training_with_pgd(self):
        text = (STORE.reports / "joint-training.md").read_text(encoding="utf-8")
        assert "5 training seeds" in text
        assert "Within 3 points, and so equivalent: yes." in text
