import pytest
import torch
import torchvision
from PIL import Image

from lightning_rs.data.transforms import augmented, cropped


def run(steps, image):
    for step in steps:
        image = step(image)
    return image


def test_the_shorter_side_is_resized_and_the_centre_cropped():
    assert cropped(None) == []
    assert run(cropped(6), Image.new("RGB", (30, 12))).size == (6, 6)


def test_crop_and_flip_draw_as_torchvision_does():
    image = torch.rand(3, 8, 8)
    reference = torchvision.transforms.Compose(
        [torchvision.transforms.RandomCrop(8, padding=2), torchvision.transforms.RandomHorizontalFlip()]
    )
    torch.manual_seed(0)
    expected = [reference(image) for _ in range(5)]
    torch.manual_seed(0)
    steps = augmented("crop_flip", None, 2, (3, 8, 8))
    assert all(torch.equal(run(steps, image), draw) for draw in expected)
    assert augmented("none", None, 2, (3, 8, 8)) == []


@pytest.mark.parametrize("augmentation", ["none", "flip", "crop", "crop_flip", "random_resized_crop"])
def test_what_comes_out_has_the_size(augmentation):
    steps = augmented(augmentation, 16, 4, (3, 16, 16))
    assert run(steps, Image.new("RGB", (40, 20))).size == (16, 16)
