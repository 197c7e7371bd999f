import pytest
import torch

from lightning_rs.models import ImageFacts, get_architecture
from lightning_rs.models.net import NET

DIGITS = ImageFacts(7, (1, 8, 8), [0.5], [0.5])


def test_it_is_the_architecture_for_the_classes_of_the_images():
    torch.manual_seed(0)
    net = NET.build(DIGITS, architecture="digits_cnn")
    torch.manual_seed(0)
    own = get_architecture("digits_cnn").build(7)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(net(x), own(x))


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match="^lenet takes 1x28x28 images, the data set has 1x8x8$"):
        NET.build(DIGITS, architecture="lenet")
