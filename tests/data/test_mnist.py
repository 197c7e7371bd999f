import numpy as np
import pytest
import torch
from data.stand_ins import write_mnist

from lightning_rs.data import MNIST


def test_images_and_splits(tmp_path):
    images = write_mnist(tmp_path, np.random.default_rng(0), train=50, test=12)
    data = MNIST(str(tmp_path), val_size=10)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [40, 10, 12]
    image, label = data.dataset("test")[3]
    assert label == 3
    assert torch.equal(image[0], torch.from_numpy(images["t10k"][3]).float() / 255)
    # Held out evenly: every fifth.
    assert torch.equal(data.dataset("val")[1][0][0], torch.from_numpy(images["train"][5]).float() / 255)


def test_missing_files_say_how_to_get_them(tmp_path):
    message = r"MNIST not found in .*: set data_dir .* or download: true to fetch it \(11 MB\)"
    with pytest.raises(FileNotFoundError, match=message):
        MNIST(str(tmp_path / "none")).dataset("test")
    assert not (tmp_path / "none").exists()
