"""torchvision's data sets by name, from small files in their own formats."""

import numpy as np
import pytest
import torch
import torchvision
from data.stand_ins import write_mnist
from PIL import Image
from scipy.io import savemat

from lightning_rs.data import Torchvision
from lightning_rs.data.torchvision_sets import _SETS, Name


def test_every_name_is_one_of_torchvision_and_of_the_option():
    assert sorted(_SETS) == sorted(Name.__args__)
    assert all(issubclass(getattr(torchvision.datasets, name), torch.utils.data.Dataset) for name in _SETS)
    assert all({"train", "test"} <= set(known.parts) for known in _SETS.values())


def write_svhn(folder, generator, monkeypatch):
    for split, count in (("train", 40), ("test", 10)):
        images = generator.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(folder / f"{split}_32x32.mat", {"X": images, "y": (np.arange(count) % 10 + 1)[:, None]})
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    return images


def test_svhn(tmp_path, monkeypatch):
    images = write_svhn(tmp_path, np.random.default_rng(0), monkeypatch)
    data = Torchvision("SVHN", str(tmp_path), val_size=4, augmentation="crop_flip")
    assert (data.num_classes, data.shape, data.levels, data.classes) == (10, (3, 32, 32), 255, None)
    assert data.mean == pytest.approx([0.5] * 3, abs=0.01)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [36, 4, 10]
    image, label = data.dataset("test")[3]
    assert label == 4 and np.array_equal((image * 255).round().numpy(), images[..., 3].transpose(2, 0, 1))
    train = data.dataset("train")
    assert not all(torch.equal(train[0][0], train[0][0]) for _ in range(5))
    assert Torchvision(**data.description()["init_args"]).description() == data.description()
    smaller = Torchvision("SVHN", str(tmp_path), size=16, val_size=4)
    assert smaller.dataset("test")[0][0].shape == (3, 16, 16)
    assert [module.called("test") for module in (data, smaller)] == [
        "Torchvision:name=SVHN",
        "Torchvision:name=SVHN,size=16",
    ]


def test_grey_images_and_names_of_classes(tmp_path):
    write_mnist(tmp_path, np.random.default_rng(0), train=40, test=10)
    (tmp_path / "MNIST").rename(tmp_path / "FashionMNIST")
    data = Torchvision("FashionMNIST", str(tmp_path), val_size=4)
    assert data.facts.shape == (1, 28, 28) and data.classes[9] == "Ankle boot"
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [36, 4, 10]


def test_images_of_several_sizes_and_a_validation_split(tmp_path, monkeypatch):
    class Flowers(torch.utils.data.Dataset):
        def __init__(self, root, split, transform=None):
            self.count, self.transform = {"train": 7, "val": 5, "test": 3}[split], transform

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            pixels = np.random.default_rng(index).integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
            return self.transform(Image.fromarray(pixels)), index

    monkeypatch.setattr(torchvision.datasets, "Flowers102", Flowers)
    data = Torchvision("Flowers102", str(tmp_path), size=16)
    assert data.facts.shape == (3, 16, 16)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [7, 5, 3]


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"SVHN not found in .* or download: true to fetch it \(246 MB\)"):
        Torchvision("SVHN", str(tmp_path)).dataset("test")
    with pytest.raises(ValueError, match="unknown data set of torchvision 'MINST'; known: CIFAR100, DTD, EMNIST, "):
        Torchvision("MINST")
