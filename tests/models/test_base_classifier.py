import pytest
import torch

from lightning_rs.models import (
    ARCHITECTURES,
    build_base_classifier,
    get_architecture,
    list_architectures,
    load_named,
    shape_at_net,
)


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
        assert torch.equal(scores, classifier.net((x - 0.5) / 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet99", 10, (3, 32, 32), [0.5] * 3, [0.5] * 3), "unknown model 'resnet99'; known: cifar_resnet110, "),
        (("lenet", 10, (1, 8, 8), [0.5], [0.5]), "lenet takes 1x28x28 images, the data set has 1x8x8"),
        (("resnet50", 10, (3, 8, 8), [0.5] * 3, [0.5] * 3), "resnet50 takes 3x32x32 or larger images"),
        (("digits_cnn", 1, (1, 8, 8), [0.5], [0.5]), "num_classes must be an integer of at least 2, got 1"),
        (("digits_cnn", 10, (1, 8, 8), [0.5, 0.5], [0.5, 0.5]), "one entry for each of 1 channels"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.0]), "std positive"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["normalise", "net"]), "unknown stage 'normalise'; known: ch"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["normalize"]), "one of them net, got \\['normalize'\\]"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["net", "net"]), "stages must be different ones"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["normalize:eps=1", "net"]), "'normalize' does not take the opt"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["normalize:eps", "net"]), "a stage must read name or name:opt"),
        (("os.system", 10, (1, 8, 8), [0.5], [0.5]), "unknown model 'os.system'; known: .*; what only a file names"),
        (("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], ["os.system", "net"]), "unknown stage 'os.system'; known: "),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_base_classifier(*arguments)


def test_stages_have_names_and_the_default_ones_draw_what_they_drew_without():
    torch.manual_seed(0)
    classifier = build_base_classifier("digits_cnn", 10, (1, 8, 8), [0.5], [0.25])
    torch.manual_seed(0)
    net = get_architecture("digits_cnn").build(10)
    assert [name for name, _ in classifier.named_children()] == ["normalize", "net"]
    for (name, weight), (_, own) in zip(classifier.net.state_dict().items(), net.state_dict().items(), strict=True):
        assert torch.equal(weight, own), name
    assert set(classifier.state_dict()) == {"normalize.mean", "normalize.std", *(f"net.{k}" for k in net.state_dict())}


class Halve(torch.nn.Module):
    """A stage that changes the shape: every other pixel."""

    def __init__(self, images, phase=0):
        super().__init__()
        self.phase = phase
        self.output_shape = (images.shape[0], images.shape[1] // 2, images.shape[2] // 2)

    def forward(self, x):
        return x[..., self.phase :: 2, self.phase :: 2]


def test_a_stage_in_front_may_change_the_shape_that_the_net_gets():
    load_named(stages=[f"{__name__}.Halve"])
    arguments = ("digits_cnn", 10, (1, 16, 16), [0.5], [0.25])
    classifier = build_base_classifier(*arguments, [f"{__name__}.Halve:phase=1", "normalize", "net"]).eval()
    assert [name for name, _ in classifier.named_children()] == ["Halve", "normalize", "net"]
    assert shape_at_net(classifier, (1, 16, 16)) == (1, 8, 8)
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(classifier(x), classifier.net((x[..., 1::2, 1::2] - 0.5) / 0.25))
    with pytest.raises(ValueError, match="digits_cnn takes 1x8x8 images, the data set has 1x16x16"):
        build_base_classifier(*arguments)
