"""What a new training starts from: files of ours, of the field and of libraries, and names of their weights."""

import dataclasses

import pytest
import safetensors.torch
import torch
from torch import nn

from lightning_rs.checkpoints import load_checkpoint, load_initial_weights
from lightning_rs.models import ARCHITECTURES, Architecture, Pretrained, get_architecture
from lightning_rs.objectives import Gaussian

DIGITS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.1], "std": [0.9]}
COLOUR = {"architecture": "cifar_resnet20", "num_classes": 10, "input_shape": [3, 32, 32]} | {
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
}


def started(weights, like=DIGITS, **change):
    torch.manual_seed(1)
    module = Gaussian(**like | change, weights=None if weights is None else str(weights))
    before = {key: value.clone() for key, value in module.base_classifier.state_dict().items()}
    line = load_initial_weights(module)
    after = module.base_classifier.state_dict()
    return line, after, {key for key, value in after.items() if torch.equal(value, before[key])}


@pytest.fixture
def resnet():
    torch.manual_seed(2)
    return get_architecture("cifar_resnet20").build(7).state_dict()


def test_a_checkpoint_of_ours_or_its_run_gives_all_weights_and_the_normalisation(checkpoint):
    line, weights, same = started(checkpoint)
    assert line == f"the training starts from the weights of {checkpoint}"
    expected = load_checkpoint(checkpoint).base_classifier.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in expected.items())
    assert not same
    _, again, _ = started(checkpoint.parent.parent)
    assert all(torch.equal(value, again[key]) for key, value in expected.items())


def test_a_head_for_other_classes_is_new(checkpoint):
    line, _, same = started(checkpoint, num_classes=4)
    assert line.endswith("; new for 4 classes: net.7.bias, net.7.weight")
    assert same == {"net.7.bias", "net.7.weight"}


def test_adapters_are_new_or_those_of_the_file(checkpoint, tmp_path):
    line, weights, same = started(checkpoint, lora=2)
    assert line.endswith("; not among them: adapters")
    assert same == {"net.5.lora_A.default.weight", "net.5.lora_B.default.weight"}
    content = torch.load(checkpoint, weights_only=True)
    weights["net.5.lora_B.default.weight"].fill_(3.0)
    content["state_dict"] = {f"base_classifier.{key}": value for key, value in weights.items()}
    content["hyper_parameters"]["stages"] = ["normalize", "net:lora=2"]
    torch.save(content, tmp_path / "adapted.ckpt")
    line, again, _ = started(tmp_path / "adapted.ckpt", lora=2)
    assert "; " not in line and all(torch.equal(value, again[key]) for key, value in weights.items())
    with pytest.raises(ValueError, match="fit digits_cnn only in part: 2 unexpected: net.5.lora_A.default.weight, "):
        started(tmp_path / "adapted.ckpt")


@pytest.mark.parametrize("form", ["plain", "wrapped", "cohen", "safetensors"])
def test_files_of_the_field_and_of_libraries(form, resnet, tmp_path):
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        path = tmp_path / "model.safetensors"
        safetensors.torch.save_file(resnet, path)
    elif form == "cohen":
        layer = {"0.mean": torch.full((3,), 0.25), "0.std": torch.full((3,), 0.75)}
        state = layer | {f"1.module.{key}": value for key, value in resnet.items()}
        torch.save({"arch": "cifar_resnet20", "state_dict": state}, path)
    else:
        prefix = "model." if form == "wrapped" else ""
        torch.save({prefix + key: value for key, value in resnet.items()}, path)
    line, weights, _ = started(tmp_path if form == "safetensors" else path, COLOUR)
    assert line.endswith("; new for 10 classes: net.fc.bias, net.fc.weight")
    assert all(torch.equal(value, weights[f"net.{key}"]) for key, value in resnet.items() if "fc" not in key)
    assert weights["normalize.mean"].flatten().tolist() == [0.25 if form == "cohen" else 0.5] * 3
    assert weights["normalize.std"].flatten().tolist() == [0.75 if form == "cohen" else 0.5] * 3


class Wrapped(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, num_classes))


@pytest.fixture
def entered(monkeypatch):
    """An architecture whose library has weights of 3 classes and a normalisation of their own."""
    weights = Wrapped(3).state_dict()

    def pretrained(name):
        if name != "pretrained":
            raise ValueError(f"it has the weights pretrained, got {name!r}")
        return Pretrained(weights, [0.2], [0.4])

    entry = Architecture("wrapped", Wrapped, pretrained=pretrained)
    carrying = dataclasses.replace(entry, carries=True)
    monkeypatch.setattr(ARCHITECTURES, "_users", {"wrapped": entry, "carrying": carrying})
    return weights


def test_weights_by_name_bring_their_normalisation(entered):
    line, weights, same = started("pretrained", architecture="wrapped")
    assert line == (
        "the training starts from the weights of wrapped; new for 10 classes: net.model.2.bias, net.model.2.weight"
    )
    assert same == {"net.model.2.bias", "net.model.2.weight"}
    assert torch.equal(weights["net.model.1.bias"], entered["model.1.bias"])
    assert (weights["normalize.mean"].item(), weights["normalize.std"].item()) == pytest.approx((0.2, 0.4))
    with pytest.raises(ValueError, match="it has the weights pretrained, got 'others'"):
        started("others", architecture="wrapped")


def test_a_net_that_carries_weights_starts_from_them_unless_told_otherwise(entered):
    line, weights, _ = started(None, architecture="carrying")
    assert line.startswith("the training starts from the weights of carrying;")
    assert torch.equal(weights["net.model.1.bias"], entered["model.1.bias"])
    for given, name in (("none", "carrying"), (None, "wrapped")):
        line, weights, same = started(given, architecture=name)
        assert line is None and same == set(weights)


def test_names_of_a_file_without_the_wrappers(entered, tmp_path):
    torch.save({key.removeprefix("model."): value for key, value in entered.items()}, tmp_path / "inner.pt")
    line, weights, _ = started(tmp_path / "inner.pt", architecture="wrapped")
    assert "new for 10 classes" in line
    assert torch.equal(weights["net.model.1.weight"], entered["model.1.weight"])


def test_a_file_without_a_head(entered, tmp_path):
    torch.save({key: value for key, value in entered.items() if "2." not in key}, tmp_path / "body.pt")
    line, _, _ = started(tmp_path / "body.pt", architecture="wrapped")
    assert line.endswith("new for 10 classes: net.model.2.bias, net.model.2.weight")


def test_what_fits_in_part_is_refused_with_what_was_not_taken(resnet, tmp_path):
    refused = "the weights of .* fit cifar_resnet20 only in part: "
    for change, message in (
        ({"conv1.weight": torch.zeros(16, 1, 3, 3)}, r"1 of another shape or type: net.conv1.weight float \[16, 1"),
        ({"conv9.weight": torch.zeros(1)}, "1 unexpected: net.conv9.weight"),
        ({"bn1.weight": None, "bn1.bias": None}, "2 missing: net.bn1.weight, net.bn1.bias"),
        ({"fc.weight": torch.zeros(7, 60)}, r"1 of another shape or type: net.fc.weight float \[7, 60\]"),
    ):
        state = {key: value for key, value in (resnet | change).items() if value is not None}
        torch.save(state, tmp_path / "part.pt")
        with pytest.raises(ValueError, match=refused + message):
            started(tmp_path / "part.pt", COLOUR)
    torch.save(resnet | {"bn1.bias": torch.full((16,), float("nan"))}, tmp_path / "nan.pt")
    with pytest.raises(ValueError, match="cannot serve: net.bn1.bias holds NaN or infinities"):
        started(tmp_path / "nan.pt", COLOUR)


def test_places_without_weights(tmp_path):
    for given, error, message in (
        (tmp_path, FileNotFoundError, "holds no weights: expected one of checkpoints/last.ckpt, model.safetensors, "),
        (tmp_path / "none.ckpt", FileNotFoundError, "no weights at .*none.ckpt"),
        ("others", ValueError, "weights must be a file, a directory or none, as digits_cnn has none, got 'others'"),
    ):
        with pytest.raises(error, match=message):
            started(given)
