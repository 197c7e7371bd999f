import pytest

from lightning_rs.data import CIFAR10, DATASETS, MNIST, Arrays, Digits, HuggingFace, ImageFolder, ImageNet, Torchvision


def test_ours_are_found_by_file():
    ours = (CIFAR10, MNIST, Arrays, Digits, HuggingFace, ImageFolder, ImageNet, Torchvision)
    # Beside them stand the paths that were named in this process.
    assert {name: cls for name, cls in DATASETS.items() if "." not in name} == {cls.__name__: cls for cls in ours}


def test_unknown_data_set():
    with pytest.raises(ValueError, match="unknown data set 'SVHN'; known: Arrays, CIFAR10, Digits, HuggingFace, Im"):
        DATASETS.get("SVHN")
    with pytest.raises(ValueError, match=r"is never imported: .* give --data a.B or --plugins a$"):
        DATASETS.get("a.B")
