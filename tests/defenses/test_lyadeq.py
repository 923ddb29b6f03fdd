"""The Lyapunov function, its projection, and the places where it may stand."""

import pytest
import torch
from scipy.integrate import solve_ivp
from torch.nn.functional import cross_entropy

from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import DefendedModel, Defense, Task
from robustdeq.defenses.lyadeq import LyaDEQ
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.evaluation.adaptive import derived_views
from robustdeq.models.lyapunov import Level, LyapunovFunction, LyapunovProjection, smoothed_relu
from robustdeq.models.projected import ProjectedLayer
from robustdeq.noise import NoiseStream
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard
from robustdeq.surrogates.defended import Defended
from robustdeq.surrogates.relaxed_projection import RelaxedProjection
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.training.central import build

SPLIT = toy_images(8, TASK)
ROWS = torch.arange(8)


@pytest.fixture
def function():
    """V on six dimensions, its weights as far from their start as a training might take them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = LyapunovFunction(6, 5, floor=0.05, width=0.1).double()
        with torch.no_grad():
            for parameter in found.parameters():
                parameter += 0.5 * torch.randn_like(parameter)
    return found


def points(count=200, scale=2.0):
    return scale * NoiseStream(1).normal(torch.arange(count), 0, (6,)).double()


def field(z):
    """A nominal velocity that does not care about V."""
    return torch.cos(3 * z.roll(1, dims=1)) - 0.3 * z


class TestFunction:
    def test_it_vanishes_at_the_origin_and_lies_above_its_floor(self, function):
        assert function(torch.zeros(1, 6).double()).value.item() == 0
        z = points()
        assert bool((function(z).value >= 0.05 * z.square().sum(1)).all())

    def test_it_is_convex_between_any_two_points(self, function):
        a, b = points()[:100], points()[100:]
        middle = function((a + b) / 2).value
        assert bool((middle <= (function(a).value + function(b).value) / 2 + 1e-12).all())

    def test_its_gradient_is_the_derivative(self, function):
        z = points().requires_grad_()
        level = function(z)
        (wanted,) = torch.autograd.grad(level.value.sum(), z)
        assert torch.allclose(level.gradient, wanted, atol=1e-12)

    def test_the_smoothed_relu_bends_where_it_should(self):
        u = torch.tensor([-1.0, 0.0, 0.05, 0.1, 1.0], dtype=torch.float64)
        wanted = torch.tensor([0, 0, 0.05**2 / 0.2, 0.05, 0.95], dtype=torch.float64)
        assert torch.allclose(smoothed_relu(u, 0.1), wanted)


class TestProjection:
    def test_the_velocity_decreases_v_at_the_rate(self, function):
        z = points()
        level = function(z)
        v = LyapunovProjection(function, 0.7)(z, field(z))
        assert bool(((level.gradient * v).sum(1) <= -0.7 * level.value + 1e-9).all())

    def test_it_is_the_nearest_such_velocity(self, function):
        z, v = points(), field(points())
        found = LyapunovProjection(function, 0.7)(z, v)
        level = function(z)
        excess = (level.gradient * v).sum(1) + 0.7 * level.value
        distance = excess.clamp_min(0) / level.gradient.norm(dim=1)
        assert torch.allclose((found - v).norm(dim=1), distance)

    def test_projecting_twice_changes_nothing(self, function):
        projection, z = LyapunovProjection(function, 0.7), points()
        once = projection(z, field(z))
        assert torch.allclose(projection(z, once), once, atol=1e-12)

    def test_no_point_but_the_origin_is_an_equilibrium(self, function):
        z = points()
        level = function(z)
        speed = LyapunovProjection(function, 0.7)(z, field(z)).norm(dim=1)
        assert bool((speed >= 0.7 * level.value / level.gradient.norm(dim=1) - 1e-12).all())

    def test_along_the_exact_flow_v_decays(self, function):
        projection = LyapunovProjection(function, 0.5)

        def velocity(t, z):
            with torch.no_grad():
                rows = torch.from_numpy(z)[None]
                return projection(rows, field(rows))[0].numpy()

        for start in points(4):
            end = solve_ivp(velocity, (0, 2), start.numpy(), rtol=1e-8, method="LSODA").y[:, -1]
            values = function(torch.stack([start, torch.from_numpy(end)])).value
            assert values[1] <= values[0] * torch.exp(torch.tensor(-1.0)) * (1 + 1e-4)

    def test_at_the_origin_nothing_is_divided_by_zero(self, function):
        zero = torch.zeros(1, 6).double()
        assert torch.equal(LyapunovProjection(function, 0.5)(zero, field(zero)), field(zero))

    @pytest.mark.parametrize("backward", ["identity", "smooth", "constant"])
    def test_another_backward_pass_keeps_the_value(self, function, backward):
        projection, z = LyapunovProjection(function, 0.7), points().requires_grad_()
        exact = projection(z, field(z))
        projection.backward = backward
        other = projection(z, field(z))
        assert torch.equal(exact, other)
        first, second = (torch.autograd.grad(v.square().sum(), z)[0] for v in (exact, other))
        assert not torch.allclose(first, second)

    @pytest.mark.parametrize("alpha", [0.0, -1.0])
    def test_a_rate_that_is_none_is_refused(self, function, alpha):
        with pytest.raises(SpecError, match="alpha"):
            LyapunovProjection(function, alpha)


def test_a_layer_on_a_round_bowl_is_a_flip_and_a_scale():
    class Bowl(LyapunovFunction):
        def forward(self, z, width=None):
            return Level(self.floor * z.square().sum(1), 2 * self.floor * z)

    z = points().reshape(-1, 6, 1, 1)
    layer = ProjectedLayer(LyapunovProjection(Bowl(6, 2, 0.3, 0.1), 0.1))
    assert torch.allclose(layer(z), -0.05 * z)


def network(mode, **fields):
    return build(Entrant(LyaDEQ(mode=mode, **fields)), TASK).eval().requires_grad_(False)


class TestPlaces:
    def test_centred_at_the_equilibrium_the_projection_moves_no_answer(self):
        model = network("centred").double()
        x = SPLIT.images.double()
        tight = Picard(tol=1e-12, max_steps=500)
        nominal = model.inject.nominal.replaced(solver=tight)
        model.inject.nominal = nominal
        found = solve(model.problem(x), tight)
        assert bool(found.converged.all())
        moved, unmoved = model.layout.shaped(found.z), nominal.layout.shaped(nominal.solve(x).z)
        assert torch.allclose(moved, unmoved, atol=1e-10)

    def test_the_flow_follows_the_field(self):
        model = network("flow").double()
        problem = model.problem(SPLIT.images.double())
        coarse = problem.z0
        for _ in range(16):
            coarse = problem(coarse)
        model.cell.step /= 8
        fine = problem.z0
        for _ in range(128):
            fine = problem(fine)
        assert torch.equal(problem.z0, model.inject(SPLIT.images.double()).flatten(1))
        assert (coarse - fine).norm(dim=1).max() < 1e-2 * fine.norm(dim=1).min()

    def test_heads_have_the_gain_they_promise(self):
        for head in ("spectral", "orthogonal", "frozen-orthogonal"):
            weight = LyaDEQ(mode="off", head=head).build(TASK).head[2].weight
            sizes = torch.linalg.svdvals(weight.detach())
            assert sizes.max().item() == pytest.approx(1, abs=1e-5)
            if head != "spectral":
                assert sizes.min().item() == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("head", ["spectral", "orthogonal"])
    def test_the_gain_survives_training_with_weight_decay(self, head):
        model = LyaDEQ(head=head).build(TASK)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        before = model.head[1][2].weight.detach().clone()
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model(SPLIT.images), SPLIT.labels).backward()
            optimizer.step()
        weight = model.head[1][2].weight.detach()
        assert torch.linalg.svdvals(weight).max().item() == pytest.approx(1, abs=1e-5)
        assert not torch.allclose(weight, before)

    def test_it_costs_about_the_parameters_of_the_stock_network(self):
        sizes = [
            sum(p.numel() for p in defense.build(Task((1, 8, 8), 10)).parameters())
            for defense in (LyaDEQ(), Vanilla())
        ]
        assert 0.9 < sizes[0] / sizes[1] < 1.1

    @pytest.mark.parametrize("fields", [{"alpha": 0.0}, {"floor": -1.0}, {"hidden": 0}])
    def test_what_has_to_be_positive_is(self, fields):
        with pytest.raises(SpecError, match="expected above 0"):
            LyaDEQ(**fields)


class TestViews:
    def test_a_row_is_attacked_through_every_other_backward_pass(self):
        for defense in (LyaDEQ(), AdversarialTraining(LyaDEQ())):
            views = derived_views(defense, randomised=False)
            assert {v.backward for v in views} == {"identity", "smooth", "constant"}

    def test_the_view_has_the_judged_values_and_another_gradient(self):
        target = DefendedModel(LyaDEQ(), network("layer"), {})
        readings = [
            view.bind(target, NoiseStream(0)).surface.value_and_grad(
                Samples(SPLIT.images, SPLIT.labels, ROWS), Margin()
            )
            for view in (Defended(), RelaxedProjection("identity"))
        ]
        assert torch.allclose(readings[0].value, readings[1].value, atol=1e-6)
        assert not torch.allclose(readings[0].gradient, readings[1].gradient)
        assert target.classifier.head[0].projection.backward == "exact"

    def test_it_does_not_exist_without_a_projection(self):
        defense = Defense.from_text("vanilla")
        bare = DefendedModel(defense, build(Entrant(defense), TASK), {})
        assert "no Lyapunov projection" in RelaxedProjection().applies(bare)
