import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lightning_rs.data.transforms import ImageSteps, augmented, cropped


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


def test_training_images_alone_are_augmented_and_all_are_brought_to_size():
    steps = ImageSteps(6, 1, "flip")
    image = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(6, 12))
    centre = np.asarray(run(steps.of("test", (1, 6, 6)), image))
    seen = [np.asarray(run(steps.of("train", (1, 6, 6)), image)) for _ in range(20)]
    assert {np.array_equal(one, centre) for one in seen} == {True, False}
    assert all(np.array_equal(one, centre) or np.array_equal(one[:, ::-1], centre) for one in seen)
    assert ImageSteps().of("test", (3, 8, 8)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be an integer of at least 1, got 0"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"augmentation": "turn"}, "unknown augmentation 'turn'; known: crop, crop_flip, flip, none, random_resized"),
        ({"padding": -1}, "padding must be an integer of at least 0, got -1"),
    ],
)
def test_bad_steps(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageSteps(**arguments)
