import pytest
import torch

from lightning_rs.data import certification_indices, check_image, get_dataset_class
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
        ({"indices": []}, r"indices must be one or more in \[0, 9\], got \[\]"),
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


def test_images_that_are_refused():
    check_image(torch.rand(1, 8, 8), (1, 8, 8))
    for image, message in (
        (torch.randint(0, 255, (1, 8, 8)), "floating-point tensors, got torch.int64"),
        (torch.rand(1, 8, 8) * 255, r"pixels must lie in \[0, 1\], got \["),
        (torch.rand(1, 8, 8) - 0.5, r"pixels must lie in \[0, 1\]"),
        (torch.full((1, 8, 8), float("nan")), r"pixels must lie in \[0, 1\]"),
        (torch.rand(3, 8, 8), r"shape \(1, 8, 8\), got \(3, 8, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            check_image(image, (1, 8, 8))


def test_unknown_data_set():
    with pytest.raises(ValueError, match="unknown data set 'SVHN'; known: CIFAR10, Digits, ImageNet, MNIST"):
        get_dataset_class("SVHN")
