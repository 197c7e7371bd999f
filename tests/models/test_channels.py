import pytest
import torch

from lightning_rs.models import build_base_classifier


def test_a_net_for_colour_gets_the_grey_channel_three_times():
    stages = ["channels:count=3", "normalize", "net"]
    classifier = build_base_classifier("resnet18", 5, (1, 32, 32), [0.5], [0.25], stages).eval()
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier(x), classifier.net((x.repeat(1, 3, 1, 1) - 0.5) / 0.25))


@pytest.mark.parametrize(
    ("count", "shape", "message"),
    [(0, (1, 32, 32), "count must be an integer of at least 1, got 0"), (3, (2, 32, 32), "got images of 2 channels")],
)
def test_bad_input(count, shape, message):
    stages = [f"channels:count={count}", "net"]
    with pytest.raises(ValueError, match=message):
        build_base_classifier("resnet18", 5, shape, [0.5] * shape[0], [0.5] * shape[0], stages)
