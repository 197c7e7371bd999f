import pytest
import torch

from lightning_rs.models import build_base_classifier
from lightning_rs.models.resize import Resize


def test_a_linear_ramp_stays_one():
    """Interpolation is linear between the centres of pixels; beyond the outermost it repeats them."""
    x = torch.arange(4.0).expand(1, 1, 4, 4)
    wide = Resize((1, 4, 4), 8)(x)
    assert torch.allclose(wide[0, 0, 3], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    assert torch.equal(Resize((1, 4, 4), 8, "nearest")(x)[0, 0, 0], torch.arange(4.0).repeat_interleave(2))


def test_smaller_images_average_their_pixels():
    """White noise of variance 1 becomes one of less than 1 / 4 where every pixel stands for four."""
    x = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert Resize((1, 256, 256), 128)(x).var() < 0.25 < Resize((1, 256, 256), 128, "nearest")(x).var()


def test_it_is_a_stage_that_tells_the_net_its_size():
    stages = ["resize:size=8", "normalize", "net"]
    classifier = build_base_classifier("digits_cnn", 10, (1, 16, 12), [0.5], [0.25], stages).eval()
    x = torch.rand(2, 1, 16, 12)
    with torch.no_grad():
        assert torch.equal(classifier(x), classifier.net(classifier.normalize(Resize((1, 16, 12), 8)(x))))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("resize:size=0", "size must be an integer of at least 1, got 0"),
        ("resize:size=8,mode=cubic", "unknown mode 'cubic'; known: bicubic, bilinear, nearest"),
        ("resize", "stage 'resize' does not take the options {}"),
    ],
)
def test_bad_input(stage, message):
    with pytest.raises(ValueError, match=message):
        build_base_classifier("digits_cnn", 10, (1, 16, 16), [0.5], [0.5], [stage, "net"])
