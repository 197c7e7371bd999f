import numpy as np
import pytest
import torch
from data.stand_ins import write_imagenet
from PIL import Image

from lightning_rs.data import ImageNet


def test_images_and_splits(tmp_path):
    write_imagenet(tmp_path, lambda label: np.full((12, 16, 3), (label % 256, label // 256, 0), dtype=np.uint8))
    data = ImageNet(str(tmp_path), val_size=100)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [900, 100, 1000]
    image, label = data.dataset("test")[700]
    assert label == 700
    assert image.shape == (3, 224, 224)
    assert torch.allclose(image[:, 0, 0], torch.tensor([700 % 256, 700 // 256, 0]) / 255)
    assert data.dataset("train")[0][0].shape == (3, 224, 224)


def test_other_classes(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "only").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / "only" / "0.png")
    with pytest.raises(ValueError, match="ImageNet has 1000 classes, .* has 1 folders"):
        ImageNet(str(tmp_path)).dataset("test")


def test_missing_files_say_how_to_get_them(tmp_path):
    message = "ImageNet's val images not found at .*: set data_dir to the folder with"
    with pytest.raises(FileNotFoundError, match=message):
        ImageNet(str(tmp_path / "none")).dataset("test")
    assert not (tmp_path / "none").exists()
