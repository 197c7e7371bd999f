from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from lightning_rs.data import ImageDataModule, certification_indices
from lightning_rs.data.base import held_out


def test_certification_subset():
    assert certification_indices(5) == [0, 1, 2, 3, 4]
    assert certification_indices(10, skip=4) == [0, 4, 8]
    assert certification_indices(10, skip=2, limit=3) == [0, 2, 4]
    assert certification_indices(3, limit=100) == [0, 1, 2]
    assert certification_indices(10, indices=[7, 2]) == [7, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": 0}, "skip must be an integer of at least 1, got 0"),
        ({"limit": 0}, "limit must be an integer of at least 1, got 0"),
        ({"indices": [3, 10]}, r"indices must be one or more in \[0, 9\], got \[10\]"),
        ({"indices": []}, r"indices must be one or more in \[0, size of the data set\), got \[\]"),
        ({"indices": [1, -1]}, r"indices must be one or more in \[0, size of the data set\), got \[1, -1\]"),
        ({"indices": [0.5]}, r"indices must be one or more in \[0, size of the data set\), got \[0.5\]"),
        ({"indices": [1, 1]}, "indices must not repeat"),
        ({"indices": [1], "limit": 1}, "either indices, or skip and limit"),
    ],
)
def test_bad_subset(arguments, message):
    with pytest.raises(ValueError, match=message):
        certification_indices(10, **arguments)


def test_held_out_images_are_spread_and_disjoint():
    stay, out = held_out(100, 7)
    assert sorted(stay + out) == list(range(100))
    assert len(out) == 7
    assert max(b - a for a, b in zip(out, out[1:])) <= 15  # noqa: B905, RUF007
    with pytest.raises(ValueError, match=r"val_size must lie in \[1, 9\], got 10"):
        held_out(10, 10)


class Learned(ImageDataModule):
    """Its facts come from its images."""

    def __init__(self, rows: int, hidden: str = "x") -> None:
        super().__init__(batch_size=rows)
        images = self.load("train").tensors[0]
        self.num_classes, self.shape = rows, tuple(images.shape[1:])
        self.mean, self.std = [float(images.mean())], [float(images.std())]

    def load(self, split: str) -> TensorDataset:
        return TensorDataset(torch.linspace(0, 1, 4 * 9).view(4, 1, 3, 3), torch.arange(4))


def test_a_split_without_images_is_refused():
    empty = TensorDataset(torch.zeros(0, 1, 3, 3), torch.zeros(0, dtype=torch.int64))
    data = type("Empty", (Learned,), {})(4)
    assert len(data.dataset("train")) == 4
    data.load = lambda split: empty
    with pytest.raises(ValueError, match="Empty has no val images"):
        data.dataset("val")


def test_facts_belong_to_the_instance_and_are_described():
    data = Learned(4)
    images = data.load("train").tensors[0]
    facts = {"num_classes": 4, "shape": [1, 3, 3], "mean": [float(images.mean())], "std": [float(images.std())]}
    facts |= {"levels": 255, "classes": None}  # Unless it says otherwise.
    # By its path; arguments that are the base class's alone would not be taken again.
    assert data.description() == {
        "name": f"{__name__}.Learned",
        "init_args": {"rows": 4, "hidden": "x"},
        "facts": facts,
    }
    assert Learned(**data.description()["init_args"]).description() == data.description()
    assert data.dataset("train")[0][0].shape == (1, 3, 3)
    with pytest.raises(ValueError, match="Learned's hidden must be a text, a number .* got a PosixPath"):
        Learned(4, Path("x")).description()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "Unsaid does not say its mean: set it in the class or in __init__"),
        ({"num_classes": 1}, "Unsaid: num_classes must be an integer of at least 2, got 1"),
        ({"shape": (8, 8)}, r"Unsaid: shape must be \(channels, height, width\), each at least 1, got \(8, 8\)"),
        ({"std": (0.0,)}, "Unsaid: mean and std must be finite, and std positive"),
        ({"mean": (0.5, 0.5)}, "Unsaid: mean and std must have one entry for each of 1 channels"),
    ],
)
def test_facts_that_are_not_said_or_cannot_be(change, message):
    said = {"num_classes": 10, "shape": (1, 8, 8), "mean": (0.5,), "std": (0.5,)} | change
    said = {key: value for key, value in said.items() if value is not None}
    data = type("Unsaid", (ImageDataModule,), {**said, "load": Learned.load})()
    for ask in (lambda: data.facts, data.description, lambda: data.dataset("train")):
        with pytest.raises(ValueError, match=message):
            ask()
