import pytest
import torch

from lightning_rs.models import STAGES, ImageFacts, Stage, build_base_classifier


class Crop(torch.nn.Module):
    """Without `size` rows and columns at the end."""

    def __init__(self, shape, size):
        super().__init__()
        self.size, self.output_shape = size, (shape[0], shape[1] - size, shape[2] - size)

    def forward(self, x):
        return x[..., : -self.size, : -self.size]


@pytest.fixture
def seen(monkeypatch):
    """The facts that two stages of one's own are given."""
    facts = []

    def crop(images, size=1):
        facts.append(images)
        return Crop(images.shape, size)

    def look(images):
        facts.append(images)
        return torch.nn.Identity()

    own = {"crop": Stage("crop", crop), "look": Stage("look", look), "none": Stage("none", lambda images: 3)}
    monkeypatch.setattr(STAGES, "_users", own)
    return facts


def test_each_is_built_for_the_shape_that_those_before_give(seen):
    classifier = build_base_classifier("digits_cnn", 10, (1, 13, 13), [0.5], [0.25], ["crop:size=5", "look", "net"])
    assert seen == [ImageFacts(10, (1, size, size), [0.5], [0.25]) for size in (13, 8)]
    # Its name is the first part of its weights' names.
    assert [name for name, _ in classifier.named_children()] == ["crop", "look", "net"]
    x = torch.rand(2, 1, 13, 13)
    assert torch.equal(classifier(x), classifier.net(x[..., :8, :8]))


def test_one_that_makes_no_module(seen):
    with pytest.raises(ValueError, match="^stage 'none' must be built as a torch module, got a int$"):
        build_base_classifier("digits_cnn", 10, (1, 8, 8), [0.5], [0.25], ["none", "net"])
