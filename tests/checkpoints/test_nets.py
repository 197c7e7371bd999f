import pytest
import torch
from torch import nn

from lightning_rs.checkpoints import data_of, load_net
from lightning_rs.data import Digits
from lightning_rs.models import ARCHITECTURES, Architecture, Pretrained, get_architecture
from lightning_rs.models.registry import _LIBRARIES


class Answers(nn.Module):
    """What a net of the user's might return."""

    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def forward(self, x):
        return self.returned(x)


def trained(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, num_classes))


def of_seven_classes(num_classes):
    return trained(7)


def of_a_dictionary(num_classes):
    return Answers(lambda x: {"logits": x})


def of_nan(num_classes):
    return Answers(lambda x: x.flatten(1)[:, :num_classes] / 0.0)


def broken(num_classes):
    raise KeyError("weights.pth")


def of_a_grey_image(num_classes):
    return Architecture("grey", lambda count: nn.Flatten(), channels=1)


CARRYING = Architecture("carrying", trained, carries=True)
PRETRAINED = Architecture(
    "pretrained",
    lambda count: nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, count)),
    channels=3,
    size=16,
    prefers=16,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    pretrained=lambda name: Pretrained(_weights(name)),
)


def _weights(name):
    known = {"ten": 10, "seven": 7}
    if name not in known:
        raise ValueError(f"it has the weights ten and seven, got {name!r}")
    return {"1.weight": torch.ones(known[name], 3 * 16 * 16), "1.bias": torch.arange(float(known[name]))}


HERE = __name__


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_users", {})


def test_a_users_callable_that_returns_a_trained_net():
    loaded = load_net(f"{HERE}.trained", "own", "Digits", "none")
    assert (loaded.architecture, loaded.sigma, loaded.foreign) == (f"{HERE}.trained", None, True)
    assert (loaded.num_classes, loaded.input_shape) == (10, (1, 8, 8))
    assert not any(module.training for module in loaded.base_classifier.modules())
    assert isinstance(loaded.base_classifier.normalize, nn.Identity)
    assert isinstance(data_of(loaded), Digits)
    own = load_net(f"{HERE}.trained", "own", "Digits", "0.25/0.5").base_classifier.normalize
    assert (own.mean.item(), own.std.item()) == (0.25, 0.5)


def test_weights_of_the_nets_library_with_its_size_and_normalisation():
    loaded = load_net(f"{HERE}.PRETRAINED", "ten", "Digits")
    classifier = loaded.base_classifier
    assert list(dict(classifier.named_children())) == ["channels", "resize", "normalize", "net"]
    assert classifier.normalize.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    with torch.no_grad():
        scores = classifier(torch.full((1, 1, 8, 8), 0.75))
    assert torch.allclose(scores, 768 * 0.5 + torch.arange(10.0))
    other = load_net(f"{HERE}.PRETRAINED", "ten", "Digits", "center").base_classifier  # Of the data, of one channel.
    assert torch.allclose(other.normalize.mean.flatten(), torch.full((3,), 0.3061))


def test_what_weights_were_trained_with_comes_before_what_the_net_says(monkeypatch):
    def with_statistics(name):
        return Pretrained(_weights(name), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))

    silent = Architecture("net", PRETRAINED.build, channels=3, size=16, prefers=16, pretrained=with_statistics)
    monkeypatch.setitem(_LIBRARIES, "lib", lambda name: silent)
    assert get_architecture("lib/net").mean is None
    loaded = load_net("lib/net", "ten", "Digits")
    assert torch.allclose(loaded.base_classifier.normalize.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))


def test_a_net_that_was_named_with_its_weights_needs_no_word():
    assert load_net(f"{HERE}.CARRYING", None, "Digits", "none").architecture == f"{HERE}.CARRYING"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trained", "own"), "give the data set whose images .*trained is to be certified on, for example --data"),
        (("trained", "own", "Digits"), "trained does not say how images are normalised: give normalization: none if"),
        (("trained", None, "Digits", "none"), "if .*trained returns a net that has its weights, say --weights own"),
        (("trained", "ten", "Digits", "none"), "if .*trained returns a net that has its weights, say --weights own"),
        (("CARRYING", "ten", "Digits", "none"), "CARRYING holds its weights: leave weights out, got ten$"),
        (("PRETRAINED", None, "Digits"), r"has no weights yet: name its library's with --weights"),
        (("PRETRAINED", "nine", "Digits"), "it has the weights ten and seven, got 'nine'$"),
        (("PRETRAINED", "seven", "Digits"), "the weights seven of .* do not fit the 10 classes of Digits: 2 of"),
        (("PRETRAINED", __file__, "Digits"), "is a file: give it as --checkpoint, beside --arch"),
        (("of_seven_classes", "own", "Digits", "none"), r"a score for each of the 10 classes of Digits.*got \(2, 7\)$"),
        (("of_a_dictionary", "own", "Digits", "none"), "must return one tensor of scores, got dict$"),
        (("of_nan", "own", "Digits", "none"), "returns scores that are not finite for an image of Digits$"),
        (("broken", "own", "Digits", "none"), "broken fails for Digits: KeyError: 'weights.pth'$"),
        (("of_a_grey_image", "own", "Digits", "none"), "must be built as a torch module, got a Architecture"),
        (("trained", "own", "Nothing", "none"), "unknown data set 'Nothing'"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_net(f"{HERE}.{arguments[0]}", *arguments[1:])
    assert "\n" not in str(raised.value)


def test_nets_of_ours_have_no_weights_without_a_checkpoint():
    with pytest.raises(ValueError, match="^digits_cnn has no weights without a checkpoint: give --checkpoint$"):
        load_net("digits_cnn", None, "Digits", "standardize")
