
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_rs.data import Digits, ImageError, check_image, read_image
from lightning_rs.data.checked import CheckedImages


def test_images_that_are_refused():
    check_image(torch.rand(1, 8, 8), (1, 8, 8))
    for image, message in (
        (torch.randint(0, 255, (1, 8, 8)), "floating-point tensors, got torch.int64"),
        (torch.rand(1, 8, 8) * 255, r"pixels must lie in \[0, 1\], got \["),
        (torch.rand(1, 8, 8) - 0.5, r"pixels must lie in \[0, 1\]"),
        (torch.full((1, 8, 8), float("nan")), r"pixels must lie in \[0, 1\]"),
        (torch.full((1, 8, 8), 1e38), r"pixels must lie in \[0, 1\], got \[1e\+38, 1e\+38\]"),
        (torch.rand(3, 8, 8), r"shape \(1, 8, 8\), got \(3, 8, 8\)"),
        (None, "floating-point tensors, got NoneType"),
    ):
        with pytest.raises(ValueError, match=message):
            check_image(image, (1, 8, 8))
    with pytest.raises(ValueError, match="images must have pixels"):
        check_image(torch.zeros(1, 0, 8))


class Damaged(Dataset):
    """Images of which the third is not what it should be."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index != 2:
            return torch.zeros(1, 2, 2), index % 2
        return self.item() if callable(self.item) else self.item


def broken():
    raise OSError("image file is truncated\nin line 2")


GOOD = torch.zeros(1, 2, 2)
DAMAGES = [
    (broken, " cannot be read: OSError: image file is truncated$"),
    (lambda: {}["key"], " cannot be read: KeyError: 'key'$"),
    (GOOD, " cannot be read: ValueError: not enough values"),
    ((GOOD * torch.nan, 0), r": pixels must lie in \[0, 1\], got \[nan, nan\]$"),
    ((GOOD + 1e38, 0), r": pixels must lie in \[0, 1\], got \[1e\+38, 1e\+38\]$"),
    ((GOOD + 255, 0), r": pixels must lie in \[0, 1\], got \[255, 255\]$"),
    ((torch.zeros(3, 2, 2), 0), r": images must have the shape \(1, 2, 2\), got \(3, 2, 2\)$"),
    ((GOOD, -1), ": label must be an integer of at least 0, got -1$"),
    ((GOOD, 2), ": label must be less than the number of classes, 2, got 2$"),
    ((GOOD, torch.tensor(-1)), ": label must be an integer of at least 0, got -1$"),
    ((GOOD, 0.5), ": label must be an integer of at least 0, got 0.5$"),
    ((GOOD, None), ": label must be an integer of at least 0, got None$"),
    ((GOOD, "cat"), ": label must be an integer of at least 0, got 'cat'$"),
]


@pytest.mark.parametrize(("item", "message"), DAMAGES)
def test_an_image_that_cannot_serve_is_named(item, message):
    images = CheckedImages(Damaged(item), "Toys, train", 2, (1, 2, 2))
    assert images[1][1] == 1
    with pytest.raises(ImageError, match="^Toys, train image 2" + message) as caught:
        list(images)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="^Toys, train image 2" + message):  # Named once, whoever asks.
        read_image(images, 2, "Others, test", 2)


def test_a_worker_tells_it_in_one_line_too():
    images = CheckedImages(Damaged((GOOD + 255, 0)), "Toys, train", 2, (1, 2, 2))
    with pytest.raises(ImageError) as caught:
        list(DataLoader(images, batch_size=2, num_workers=1))
    assert str(caught.value) == "Toys, train image 2: pixels must lie in [0, 1], got [255, 255]"


def test_loaders_check_every_image_and_change_none():
    data = Digits(batch_size=100)
    images, labels = data.dataset("val").tensors
    loaded = [torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True)]
    assert torch.equal(loaded[0], images) and torch.equal(loaded[1], labels)
    for loader, split in ((data.train_dataloader(), "train"), (data.val_dataloader(), "val")):
        data.dataset(split).tensors[0][17, 0, 3, 3] = torch.nan
        with pytest.raises(ImageError, match=rf"^Digits, {split} image 17: pixels must lie in \[0, 1\]"):
            list(loader)
