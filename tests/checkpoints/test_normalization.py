import torch
from torch.utils.data import TensorDataset

from lightning_rs.checkpoints import doubt_about_normalization, parse_normalization
from lightning_rs.data import CIFAR10, MNIST, Digits
from lightning_rs.models import build_base_classifier

CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]


def matched_filter(layer_mean, layer_std):
    """A net that is right on every image of `stripes` under its own normalisation, and only there."""
    classifier = build_base_classifier("cifar_resnet20", 10, (3, 32, 32), layer_mean, layer_std).eval()

    class Net(torch.nn.Module):
        def forward(self, x):
            # Class k is a flat image of brightness (k + .5) / 10 before the normalisation.
            mean, std = torch.tensor(CIFAR_MEAN).view(-1, 1, 1), torch.tensor(CIFAR_STD).view(-1, 1, 1)
            level = (x * std + mean).mean(dim=(1, 2, 3))
            return -((level[:, None] - (torch.arange(10) + 0.5) / 10) ** 2)

    classifier[1] = Net()
    return classifier


def test_the_wrong_normalisation_is_noticed():
    labels = torch.arange(200) % 10
    dataset = TensorDataset(((labels + 0.5) / 10).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).clone(), labels)
    assert doubt_about_normalization(matched_filter(CIFAR_MEAN, CIFAR_STD), dataset, CIFAR10().facts) is None
    warning = doubt_about_normalization(matched_filter(CIFAR_MEAN, [1.0] * 3), dataset, CIFAR10().facts)
    assert "the normalisation is probably wrong: of 100 clean images" in warning
    assert "100 with --normalization standardize" in warning
    shuffled = TensorDataset(
        dataset.tensors[0], labels[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    )
    warning = doubt_about_normalization(matched_filter(CIFAR_MEAN, CIFAR_STD), shuffled, CIFAR10().facts)
    assert "no better than guessing" in warning


def test_it_is_noticed_behind_other_stages():
    class Brightness(torch.nn.Module):
        def forward(self, x):
            assert x.shape[1:] == (3, 32, 32)
            level = x.mean(dim=(1, 2, 3)) * Digits.std[0] + Digits.mean[0]
            return -((level[:, None] - (torch.arange(10) + 0.5) / 10) ** 2)

    labels = torch.arange(100) % 10
    dataset = TensorDataset(((labels + 0.5) / 10).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone(), labels)
    stages = ["channels", "resize:size=32", "normalize", "net"]
    classifier = build_base_classifier("cifar_resnet20", 10, (1, 8, 8), [0.5], [0.5], stages)
    classifier.net = Brightness()
    assert "100 with --normalization standardize" in doubt_about_normalization(classifier, dataset, Digits().facts)


def test_parse_normalization():
    assert parse_normalization("standardize", CIFAR10().facts) == (CIFAR_MEAN, CIFAR_STD)
    assert parse_normalization("center", CIFAR10().facts) == (CIFAR_MEAN, [1.0] * 3)
    assert parse_normalization("none", MNIST().facts) == ([0.0], [1.0])
    assert parse_normalization("0.1,0.2,0.3/1,2,3", CIFAR10().facts) == ([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
