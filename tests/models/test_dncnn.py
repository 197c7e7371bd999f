import pytest
import torch
from torch import nn

from lightning_rs.models import ImageFacts, build_base_classifier
from lightning_rs.models.dncnn import DnCNN

GREY = ("digits_cnn", 10, (1, 8, 8), [0.3], [0.4])


def test_it_is_the_published_net():
    net = DnCNN(1)
    kinds = [type(layer) for layer in net.dncnn]
    middle = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds == [nn.Conv2d, nn.ReLU, *15 * middle, nn.Conv2d]
    # Weights and biases 1 -> 64, 15 times 64 -> 64 with a batch norm's two numbers a channel, 64 -> 1.
    assert sum(p.numel() for p in net.parameters()) == (9 + 1) * 64 + 15 * (9 * 64 * 64 + 2 * 64) + 9 * 64
    assert {"dncnn.0.bias", "dncnn.2.weight", "dncnn.3.running_mean", "dncnn.47.weight"} <= set(net.state_dict())


def test_what_the_net_estimates_is_taken_off():
    torch.manual_seed(0)
    net, x = DnCNN(3, depth=4, width=5).eval(), torch.rand(2, 3, 9, 12)
    assert torch.equal(net(x), x - net.dncnn(x))
    nn.init.zeros_(net.dncnn[-1].weight)
    assert torch.equal(net(x), x)


@pytest.mark.parametrize("name", ["dncnn", "unet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_it_stands_before_the_classifier_as_a_stage(name, shape):
    images = ImageFacts(10, shape, [0.3] * shape[0], [0.4] * shape[0])
    stages = [f"denoiser:net={name},depth=2,width=8", "normalize", "net"]
    net = "digits_cnn" if shape[0] == 1 else "cifar_resnet20"
    classifier = build_base_classifier(net, 10, images.shape, images.mean, images.std, stages).eval()
    x = torch.rand(2, *shape)
    denoised = classifier.denoiser(x)
    assert denoised.shape == x.shape
    assert torch.equal(classifier(x), classifier.net((denoised - 0.3) / 0.4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("net=dncnn,depth=1", "depth must be an integer of at least 2, got 1"),
        ("net=dncnn,width=0", "width must be an integer of at least 1, got 0"),
        ("net=unet,depth=0", "depth must be an integer of at least 1, got 0"),
        ("net=unet,depth=4", "images of 8x8 cannot be halved 4 times: give the denoiser unet a smaller depth"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build_base_classifier(*GREY, [f"denoiser:{options}", "normalize", "net"])
