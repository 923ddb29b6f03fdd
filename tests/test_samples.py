import pytest
import torch

from robustdeq.data.base import Split
from robustdeq.errors import DataError
from robustdeq.samples import Samples

IMAGES = torch.rand(7, 1, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(7) % 3
DENSE = LABELS[:, None, None].expand(7, 2, 2)


@pytest.mark.parametrize("labels", [LABELS, DENSE], ids=["an image", "a pixel"])
def test_a_sample_keeps_its_image_label_and_position_wherever_it_goes(labels):
    samples = Samples.of(IMAGES, labels)
    later = samples.select(torch.tensor([5, 2, 6])).select(torch.tensor([True, False, True]))
    assert later.positions.tolist() == [5, 6]
    assert torch.equal(later.images, IMAGES[[5, 6]])
    assert torch.equal(later.labels, labels[[5, 6]])


def test_batches_put_together_are_the_whole():
    samples = Samples.of(IMAGES, LABELS).select(torch.arange(6, -1, -1))
    parts = list(samples.split(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([part.images for part in parts]), samples.images)
    assert torch.cat([part.positions for part in parts]).tolist() == [6, 5, 4, 3, 2, 1, 0]


def test_the_first_are_all_there_are_where_there_are_fewer():
    samples = Samples.of(IMAGES, LABELS)
    assert len(samples.first(4)) == 4
    assert len(samples.first(100)) == 7


def test_what_an_attack_made_keeps_labels_and_positions():
    samples = Samples.of(IMAGES, LABELS).select(torch.tensor([3, 1]))
    moved = samples.moved(torch.zeros(2, 1, 2, 2))
    assert moved.positions.tolist() == [3, 1]
    assert torch.equal(moved.labels, samples.labels)
    assert not moved.images.any()


def test_samples_of_a_split_count_from_zero():
    samples = Split(IMAGES, LABELS).samples()
    assert samples.positions.tolist() == list(range(7))
    assert samples.to(torch.device("cpu")).images.data_ptr() == IMAGES.data_ptr()


def test_missing_labels_or_positions_are_refused_with_their_counts():
    with pytest.raises(DataError, match="7 images, 6 labels and 7 positions"):
        Samples.of(IMAGES, LABELS[:6])
    with pytest.raises(DataError, match="7 images, 7 labels and 2 positions"):
        Samples(IMAGES, LABELS, torch.arange(2))
