"""Weight-tied networks, dense and masked."""

import pytest
import torch

from robustdeq.defenses.sparse_weight_tied import SparseWeightTied
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.defenses.weight_tied import WeightTied
from robustdeq.errors import CheckpointError, SpecError
from robustdeq.models.cells import TanhCell
from robustdeq.models.masked import MaskedStack, draw_mask
from robustdeq.noise import NoiseStream
from robustdeq.testing.toys import TASK, toy_images
from robustdeq.training.checkpoint import load_checkpoint, save_checkpoint

X = toy_images(5, TASK).images


def parameters(model):
    return sum(p.numel() for p in model.parameters())


class TestDense:
    def test_it_is_the_stock_cell_applied_so_many_times(self):
        model = WeightTied(channels=8, depth=3).build(TASK).eval()
        u = model.inject(X)
        z = torch.zeros_like(u)
        for _ in range(3):
            z = model.cell(z, u)
        assert torch.allclose(model(X), model.head(z), atol=1e-6)

    def test_its_gradient_is_backpropagation_through_all_of_them(self):
        model = WeightTied(channels=8, depth=3).build(TASK)
        model(X).square().sum().backward()
        found = model.cell.inner.weight.grad.clone()
        model.zero_grad()
        u = model.inject(X)
        z = torch.zeros_like(u)
        for _ in range(3):
            z = model.cell(z, u)
        model.head(z).square().sum().backward()
        assert torch.allclose(found, model.cell.inner.weight.grad, atol=1e-5)

    def test_it_has_the_parameters_of_the_network_it_controls(self):
        assert parameters(WeightTied().build(TASK)) == parameters(Vanilla().build(TASK))

    @pytest.mark.parametrize("fields", [{"depth": 0}, {"channels": 0}])
    def test_nothing_to_apply_is_refused(self, fields):
        with pytest.raises(SpecError, match="expected at least 1"):
            WeightTied(**fields)


class TestMasks:
    def test_the_count_is_exact(self):
        for density in (0.1, 0.5, 0.75, 1.0):
            mask = draw_mask((8, 4, 3, 3), density, NoiseStream(0))
            assert int(mask.sum()) == int(density * 288)

    def test_every_application_has_its_own_and_the_control_has_one(self):
        for masks, count in (("distinct", 6), ("shared", 1)):
            stack = SparseWeightTied(channels=8, depth=6, masks=masks).stack()
            for drawn in (stack.inner_masks, stack.outer_masks):
                assert len({bytes(mask.numpy().tobytes()) for mask in drawn}) == count

    def test_with_all_weights_kept_it_is_the_dense_network(self):
        sparse = SparseWeightTied(channels=8, depth=3, density=1.0).build(TASK)
        dense = WeightTied(channels=8, depth=3).build(TASK)
        dense.inject, dense.head, dense.cell = sparse.inject, sparse.head, sparse.body.cell
        assert torch.allclose(sparse(X), dense(X), atol=1e-6)

    def test_the_gradient_of_a_shared_weight_is_the_sum_of_the_masked_ones(self):
        stack = SparseWeightTied(channels=8, depth=2).stack()
        u = torch.randn(3, 8, 4, 4)
        stack(u).square().sum().backward()
        weights = stack.cell.inner.weight
        unused = ~stack.inner_masks.any(0)
        assert bool(unused.any())
        assert bool((weights.grad[unused] == 0).all())

    def test_live_parameters_are_those_that_some_application_uses(self):
        stack = SparseWeightTied(channels=32, depth=4, density=0.25).stack()
        stored = 2 * 32 * 32 * 9
        expected = stored * (1 - 0.75**4)
        spread = (stored * 0.75**4 * (1 - 0.75**4)) ** 0.5
        assert abs(stack.live_parameters() - 32 - expected) < 4 * spread
        assert stack.multiply_adds(8, 8) == 4 * 2 * int(0.25 * 32 * 32 * 9) * 64

    def test_the_masks_have_a_seed_of_their_own(self):
        def drawn(seed):
            return SparseWeightTied(channels=8, mask_seed=seed).stack().inner_masks

        torch.manual_seed(1)
        first = drawn(0)
        torch.manual_seed(2)
        assert torch.equal(first, drawn(0))
        assert not torch.equal(first, drawn(1))

    def test_a_checkpoint_brings_its_masks(self, tmp_path):
        first, second = (SparseWeightTied(channels=8, mask_seed=s).build(TASK) for s in (0, 1))
        save_checkpoint(tmp_path / "w.safetensors", first)
        load_checkpoint(tmp_path / "w.safetensors", second)
        assert torch.equal(first(X), second(X))

    def test_masks_of_another_depth_do_not_load(self, tmp_path):
        save_checkpoint(tmp_path / "w.safetensors", SparseWeightTied(depth=4).build(TASK))
        with pytest.raises(CheckpointError, match="inner_masks"):
            load_checkpoint(tmp_path / "w.safetensors", SparseWeightTied(depth=5).build(TASK))

    def test_masks_that_do_not_match_are_refused(self):
        cell = TanhCell(4)
        pair = (torch.ones(4, 4, 3, 3).bool(), torch.ones(4, 4, 3, 3).bool())
        with pytest.raises(SpecError, match="1 masks for 2 applications"):
            MaskedStack(cell, 2, [pair])
        with pytest.raises(SpecError, match="weights of shape"):
            MaskedStack(cell, 1, [(pair[0][:2], pair[1])])

    @pytest.mark.parametrize("density", [0.0, -0.5, 1.5])
    def test_a_density_outside_its_range_is_refused(self, density):
        with pytest.raises(SpecError, match=r"outside \(0, 1\]"):
            SparseWeightTied(density=density)
