import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from lightning_rs.data import LearnedDataModule
from lightning_rs.data.learned import evenly_spaced, held_out_of_classes, pixel_statistics
from lightning_rs.models import ImageFacts


class Counted(LearnedDataModule):
    """Counts how often its facts are learnt."""

    asked = 0

    def learn(self):
        self.asked += 1
        return ImageFacts(2, (1, 2, 2), [0.5], [0.5], 255, ["a", "b"])

    def load(self, split):
        return TensorDataset(torch.zeros(2, 1, 2, 2), torch.arange(2))


def test_facts_are_learnt_once_and_never_for_a_checkpoint():
    data = Counted(batch_size=2)
    assert (data.num_classes, data.shape, data.mean, data.std) == (2, (1, 2, 2), (0.5,), (0.5,))
    assert (data.levels, data.classes, data.asked) == (255, ("a", "b"), 1)
    data = Counted()
    facts = ImageFacts(2, (1, 2, 2), [0.1], [0.2], 16, ["x", "y"])
    data.restore(facts)
    assert data.facts == facts and data.classes == ("x", "y") and data.asked == 0


def test_records_tell_images_of_one_module_apart():
    data, other = Counted(), Counted()
    other.load = lambda split: TensorDataset(torch.ones(2, 1, 2, 2), torch.arange(2))
    names = {module.called("test") for module in (data, Counted(batch_size=2), other)}
    assert len(names) == 2 and all(name.startswith(f"{data.name}-") for name in names)
    assert data.called("train") == data.name


def test_statistics_are_those_of_all_pixels():
    images = torch.rand(50, 3, 4, 5)
    mean, std = pixel_statistics(iter(images), "here")
    assert mean == pytest.approx(images.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert std == pytest.approx(images.numpy().astype(np.float64).std((0, 2, 3)).tolist(), abs=1e-6)
    with pytest.raises(ValueError, match="^here: all pixels of a channel are the same"):
        pixel_statistics(iter(torch.ones(3, 1, 2, 2)), "here")


def test_evenly_spaced():
    assert list(evenly_spaced(3, 5)) == [0, 1, 2]
    assert evenly_spaced(10, 5) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("names", [(0, 1, 2, 3, 4), ("a", "b", "c", "d", "e")])
def test_each_class_gives_its_share_even_if_they_take_turns(names):
    labels = [*names] * 20
    stay, out = held_out_of_classes(labels, 20)
    assert sorted(stay + out) == list(range(100)) and stay == sorted(stay) and out == sorted(out)
    assert sorted(labels[i] for i in out) == sorted([*names] * 4)
