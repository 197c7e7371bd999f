import pytest
import torch

from lightning_rs.models import ARCHITECTURES, build_base_classifier, list_architectures
from lightning_rs.models.normalize import Normalize


@pytest.mark.parametrize("name", list_architectures())
@pytest.mark.parametrize("num_classes", [2, 10])
def test_every_architecture_maps_its_images_to_scores(name, num_classes):
    entry = ARCHITECTURES[name]
    shape = (entry.channels, entry.size, entry.size)
    channels = [0.5] * entry.channels
    classifier = build_base_classifier(name, num_classes, shape, channels, channels).eval()
    x = torch.rand(2, *shape)
    with torch.no_grad():
        scores = classifier(x)
        assert scores.shape == (2, num_classes)
        assert torch.equal(scores, classifier[1]((x - 0.5) / 0.5))


@pytest.mark.parametrize(
    ("name", "parameters"),
    # He et al. 2015, Table 6: .27, .85 and 1.7 million for depth 20, 56 and 110; projections add 2,752.
    [("cifar_resnet20", 272_474), ("cifar_resnet56", 855_770), ("cifar_resnet110", 1_730_714), ("digits_cnn", 151_306)],
)
def test_sizes(name, parameters):
    entry = ARCHITECTURES[name]
    net = entry.build(10)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_normalize_is_per_channel():
    x = torch.rand(2, 3, 4, 4)
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    y = Normalize(mean, std)(x)
    for c in range(3):
        assert torch.equal(y[:, c], (x[:, c] - torch.tensor(mean[c])) / torch.tensor(std[c]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet99", 10, (3, 32, 32), [0.5] * 3, [0.5] * 3), "unknown model 'resnet99'; known: cifar_resnet110, "),
        (("lenet", 10, (1, 8, 8), [0.5], [0.5]), "lenet takes 1x28x28 images, the data set has 1x8x8"),
        (("resnet50", 10, (3, 8, 8), [0.5] * 3, [0.5] * 3), "resnet50 takes 3x32x32 or larger images"),
        (("digits_cnn", 1, (1, 8, 8), [0.5], [0.5]), "num_classes must be an integer of at least 2, got 1"),
        (("digits_cnn", 10, (1, 8, 8), [0.5, 0.5], [0.5, 0.5]), "one entry for each of 1 channels"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.0]), "std positive"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_base_classifier(*arguments)
