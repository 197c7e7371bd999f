import pytest

from lightning_rs.data import CIFAR10, DATASETS, MNIST, Digits, ImageNet


def test_ours_are_found_by_file():
    assert dict(DATASETS) == {"CIFAR10": CIFAR10, "Digits": Digits, "ImageNet": ImageNet, "MNIST": MNIST}


def test_unknown_data_set():
    with pytest.raises(ValueError, match="unknown data set 'SVHN'; known: CIFAR10, Digits, ImageNet, MNIST"):
        DATASETS.get("SVHN")
    with pytest.raises(ValueError, match=r"is never imported: .* give --data a.B or --plugins a$"):
        DATASETS.get("a.B")
