"""Images as bytes on a device: the batches that single images would have made, augmented all at once."""

import numpy as np
import pytest
import torch
from data.stand_ins import accept_checksums, write_cifar
from pytorch_lightning import Trainer
from scipy import stats
from torch.utils.data import TensorDataset

from lightning_rs.data import CIFAR10, Arrays, Digits, ImageDataModule, ImageError, on_device
from lightning_rs.data.checked import CheckedImages
from lightning_rs.data.on_device import ImagesOnDevice
from lightning_rs.data.transforms import ImageSteps
from lightning_rs.models import ImageFacts
from lightning_rs.random_state import random_state, set_random_state

CPU = torch.device("cpu")
FACTS = ImageFacts(10, (3, 6, 5), (0.5,) * 3, (0.2,) * 3, 255)


def images(rows=7, facts=FACTS):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (rows, *facts.shape), generator=generator).float().div(255)
    return CheckedImages(TensorDataset(pixels, torch.arange(rows)), "Some", 10, facts.shape), pixels


def batches(data, split="train"):
    torch.manual_seed(0)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    return [*loader], torch.get_rng_state()


@pytest.fixture
def arrays(tmp_path):
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        np.savez(
            tmp_path / f"{split}.npz",
            images=generator.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8),
            labels=np.arange(50) % 10,
        )
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
def test_without_augmentation_batches_and_random_state_are_those_of_single_images(arrays, split):
    for held, single in (
        (Digits(on_device=True), Digits()),
        (Arrays(str(arrays), batch_size=8, on_device=True), Arrays(str(arrays), batch_size=8)),
    ):
        (ours, state), (theirs, expected) = batches(held, split), batches(single, split)
        assert len(ours) == len(theirs) > 0 and torch.equal(state, expected)
        for (x, y), (a, b) in zip(ours, theirs, strict=True):
            assert torch.equal(x, a) and torch.equal(y, b)
            assert (x.dtype, y.dtype, x.stride()) == (a.dtype, b.dtype, a.stride())


def every_version(image, border):
    """(top, left, flipped) to the image cut there from a black border."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, (border,) * 4)
    for top in range(2 * border + 1):
        for left in range(2 * border + 1):
            cut = padded[:, top : top + height, left : left + width]
            yield (top, left, False), cut
            yield (top, left, True), cut.flip(2)


@pytest.mark.parametrize("augmentation", ["flip", "crop", "crop_flip"])
def test_every_place_and_mirror_image_is_as_likely(augmentation):
    data, pixels = images()
    held = ImagesOnDevice(data, FACTS, ImageSteps(augmentation=augmentation, padding=1), CPU)
    torch.manual_seed(1)
    x, y = held.__getitems__([4] * 1800)
    assert set(y.tolist()) == {4}
    versions = dict(every_version(pixels[4], 1 if "crop" in augmentation else 0))
    if "flip" not in augmentation:
        versions = {place: version for place, version in versions.items() if not place[2]}
    counts = [int((x == version).flatten(1).all(1).sum()) for version in versions.values()]
    assert sum(counts) == 1800
    assert stats.chisquare(counts).pvalue > 1e-3


def test_images_of_a_batch_are_augmented_apart_from_each_other():
    data, pixels = images()
    held = ImagesOnDevice(data, FACTS, ImageSteps(augmentation="crop_flip", padding=2), CPU)
    x, y = held.__getitems__([5, 0, 3, 5])
    assert y.tolist() == [5, 0, 3, 5] and x.is_contiguous()
    for image, label in zip(x, y, strict=True):
        assert any(torch.equal(image, version) for _, version in every_version(pixels[label], 2))
    one, label = held[2]
    assert one.shape == (3, 6, 5) and int(label) == 2


def test_an_epoch_that_is_begun_again_has_the_same_batches(arrays):
    data = Arrays(str(arrays), augmentation="crop_flip", padding=2, batch_size=8, on_device=True)
    loader = data.train_dataloader()
    first = [*loader]
    state = random_state()
    second = [*loader]
    set_random_state(state)
    again = [*Arrays(str(arrays), augmentation="crop_flip", padding=2, batch_size=8, on_device=True).train_dataloader()]
    assert all(torch.equal(a, b) for one, other in zip(second, again, strict=True) for a, b in zip(one, other))  # noqa: B905
    assert not torch.equal(first[0][0], second[0][0])


def test_the_device_is_asked_for_nothing():
    data, _ = images()
    held = ImagesOnDevice(data, FACTS, ImageSteps(augmentation="crop_flip", padding=2), torch.device("meta"))
    x, y = held.__getitems__([5, 0, 3])
    assert (x.device.type, y.device.type, x.shape) == ("meta", "meta", (3, 3, 6, 5))


def test_cifar10_is_augmented_in_batches_and_validated_as_it_is(tmp_path, monkeypatch):
    accept_checksums(monkeypatch)
    pixels = write_cifar(tmp_path, np.random.default_rng(0), 4).reshape(-1, 3, 32, 32)[:20]
    data = CIFAR10(str(tmp_path), batch_size=19, num_workers=0, val_size=1, on_device=True)
    data.trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    (x, _) = next(iter(data.train_dataloader()))
    originals = [dict(every_version(torch.from_numpy(image).float().div(255), 4)).values() for image in pixels]
    assert all(any(torch.equal(image, v) for versions in originals for v in versions) for image in x[:3])
    assert torch.equal(next(iter(data.val_dataloader()))[0][0], torch.from_numpy(pixels[0]).float().div(255))
    assert data.train_dataloader().num_workers == 0


class Fine(ImageDataModule):
    num_classes, shape, mean, std = 10, (3, 6, 5), (0.5,) * 3, (0.2,) * 3

    def __init__(self, levels):
        super().__init__(on_device=True)
        self.levels = levels

    def load(self, split):
        return TensorDataset(torch.rand(5, 3, 6, 5), torch.arange(5))


def test_what_cannot_be_held_is_refused_before_the_first_step(arrays, monkeypatch):
    with pytest.raises(ValueError, match=r"as bytes, and the pixels of .*Fine are on no grid: leave on_device out"):
        Fine(None).dataset("train")
    with pytest.raises(ValueError, match=r"are multiples of 1/65535"):
        Fine(65535).dataset("val")
    with pytest.raises(ImageError, match=r"Fine, train image 0: pixels are no multiples of 1/255"):
        Fine(255).train_dataloader()
    whole = Arrays(str(arrays), augmentation="random_resized_crop", on_device=True)
    with pytest.raises(ValueError, match=r"augments by none, flip, crop, crop_flip, got random_resized_crop"):
        whole.dataset("train")
    with pytest.raises(ValueError, match="on_device must be true or false, got 'yes'"):
        Digits(on_device="yes")
    monkeypatch.setattr(on_device, "available_memory", lambda device: 2**10)
    with pytest.raises(ValueError, match=r"on_device needs 0 MiB for 1071 images of Digits, and 0 MiB are available"):
        Digits(on_device=True).dataset("train")
